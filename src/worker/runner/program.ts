/**
 * One started program, from the order to its spawner until nothing of it runs any more: limits, signals, samples.
 *
 *   ordered ──▶ running ──limit, end──▶ ending (TERM, after a while KILL) ──▶ gone
 *      └──▶ not started     └─────────────── by itself ───────────────────▶ gone
 */
import { formatDuration } from '../../ground/base/duration.ts';
import { formatSize } from '../../ground/base/size.ts';
import { endMarked } from './end-marked.ts';
import { signalProcess, startTimeOf } from './marked-processes.ts';
import type { ProcessRow } from './process-table.ts';
import type { Sampler, Watched } from './sampler.ts';
import type { SpawnerLink } from './spawner-link.ts';
import { type EndedProgram, monotonicMs, type StartProgram } from './spawner-messages.ts';

export type Limit = 'time-limit' | 'memory-limit';

/** How it ended: `limit` names the one that it broke. `lost`: its spawner was killed and the program then ended by us. */
export type ProgramEnd =
  | { readonly is: 'ended'; readonly how: EndedProgram; readonly limit?: { reason: Limit; message: string } }
  | { readonly is: 'not-started'; readonly code: string; readonly message: string }
  | { readonly is: 'lost' };

export interface Usage {
  readonly cpuSeconds?: number;
  readonly peakMemory?: number;
}

export interface ProgramOrder {
  readonly order: StartProgram;
  readonly mark: string;
  readonly timeLimitSeconds?: number;
  readonly memoryLimit?: number;
  readonly killAfterMs: number;
}

export interface Program {
  readonly ended: Promise<ProgramEnd>;
  /** Has it run long enough to be worth looking at? */
  readonly seen: boolean;
  usage(): Usage;
  /** TERM to all of it, and KILL to what is left after a while. */
  terminate(): void;
  /** Not to start it, if it has not started yet. */
  withdraw(): void;
}

export function startProgram(spawner: SpawnerLink, sampler: Sampler, wanted: ProgramOrder): Program {
  const { order, mark, timeLimitSeconds, memoryLimit } = wanted;
  const ended = Promise.withResolvers<ProgramEnd>();
  let watched: Watched | undefined;
  let leader: { pid: number; startTime: string } | undefined;
  let family: readonly ProcessRow[] = [];
  let cpuSeconds: number | undefined;
  let peakMemory: number | undefined;
  let limit: { reason: Limit; message: string } | undefined;
  let terminating = false;
  let killTimer: NodeJS.Timeout | undefined;
  let limitTimer: NodeJS.Timeout | undefined;

  const terminate = (): void => {
    if (terminating) return;
    terminating = true;
    signalAll('SIGTERM');
    killTimer = setTimeout(() => signalAll('SIGKILL'), wanted.killAfterMs);
  };
  /** The group through the spawner, whose children's numbers cannot be given away; strays one by one. */
  const signalAll = (signal: 'SIGTERM' | 'SIGKILL'): void => {
    spawner.signal(order.id, signal);
    for (const stray of strays()) signalProcess(stray, signal);
  };
  const strays = (): readonly ProcessRow[] => family.filter((row) => row.group !== watched?.pid);

  const breakLimit = (reason: Limit, message: string): void => {
    if (limit || terminating) return;
    limit = { reason, message };
    terminate();
  };
  const watchTime = (startedAt: number): void => {
    if (timeLimitSeconds === undefined) return;
    const left = startedAt + timeLimitSeconds * 1000 - monotonicMs();
    if (left <= 0) breakLimit('time-limit', timeMessage(timeLimitSeconds));
    else limitTimer = setTimeout(() => watchTime(startedAt), Math.min(left + 1, 2 ** 31 - 1));
  };
  const begin = (pid: number, startedAt: number): void => {
    watched = {
      pid,
      startedAt,
      limited: memoryLimit !== undefined,
      seen: (sample) => {
        family = sample.family;
        cpuSeconds = Math.max(cpuSeconds ?? 0, sample.cpuSeconds);
        peakMemory = Math.max(peakMemory ?? 0, sample.memory);
        if (memoryLimit !== undefined && sample.memory > memoryLimit) {
          breakLimit('memory-limit', memoryMessage(sample.memory, memoryLimit));
        }
      },
    };
    const startTime = startTimeOf(pid);
    if (startTime !== undefined) leader = { pid, startTime };
    sampler.watch(watched);
    watchTime(startedAt);
  };
  const finish = (how: ProgramEnd): void => {
    clearTimeout(killTimer);
    clearTimeout(limitTimer);
    if (watched) sampler.forget(watched);
    ended.resolve(how);
  };

  spawner.start(order, {
    running: begin,
    notStarted: (code, message) => finish({ is: 'not-started', code, message }),
    ended: (how) => {
      if (how.cpuSeconds !== undefined) cpuSeconds = Math.max(cpuSeconds ?? 0, how.cpuSeconds);
      const end: ProgramEnd = { is: 'ended', how, ...(limit ? { limit } : {}) };
      if (strays().every((row) => startTimeOf(row.pid) !== row.startTime)) finish(end);
      else void endMarked(mark).then(() => finish(end));
    },
    lost: () => {
      terminating = true;
      void endOrphans(mark, leader, family).then(() => finish({ is: 'lost' }));
    },
  });
  return {
    ended: ended.promise,
    get seen() {
      return watched !== undefined;
    },
    usage: () => ({
      ...(cpuSeconds === undefined ? {} : { cpuSeconds }),
      ...(peakMemory === undefined ? {} : { peakMemory }),
    }),
    terminate,
    withdraw: () => spawner.withdraw(order.id),
  };
}

/** Without their spawner they are found by mark; one that hid its environment by its number and start time. */
async function endOrphans(
  mark: string,
  leader: { pid: number; startTime: string } | undefined,
  family: readonly ProcessRow[],
): Promise<void> {
  await endMarked(mark);
  for (const target of leader ? [leader, ...family] : family) signalProcess(target, 'SIGKILL');
}

function timeMessage(seconds: number): string {
  return `the program ran for ${formatDuration(seconds)}, its time limit, and was ended: ask for more with --time-limit if it needs longer`;
}

function memoryMessage(used: number, limit: number): string {
  return `the program and its children used ${formatSize(used)} of memory, over the limit of ${formatSize(limit)}, and were ended: ask for more with --memory`;
}
