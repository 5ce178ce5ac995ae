import type { BatchEnding, BatchStatus } from '../scheduler.ts';
import { isEnd, isHopeless, phaseOf, toEnding } from './states.ts';

/** One line of `squeue -O`, as `QUEUE_FORMAT` asks for it. */
export interface QueueEntry {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly reason: string;
  readonly status: BatchStatus;
  readonly elapsedSeconds?: number;
}

/**
 * `:80|` cuts at 80 characters and ends with a bar; the name comes last, for other people's names may hold anything.
 * `exit_code` is a status as wait(2) gives it.
 */
export const QUEUE_FORMAT =
  'jobid:30|,state:30|,reason:200|,exit_code:20|,starttime:30|,timeused:30|,nodelist:200|,name:80|';

/** What is not a line of that format (warnings, pieces of strange names) is skipped. */
export function readQueue(text: string): QueueEntry[] {
  return text.split('\n').flatMap((line) => {
    const entry = readLine(line.split('|').map((field) => field.trim()));
    return entry ? [entry] : [];
  });
}

function readLine(fields: readonly string[]): QueueEntry | undefined {
  const [id = '', state = '', reason = '', waitStatus = '', since = '', used = '', node = '', name = ''] = fields;
  if (fields.length !== 9 || !/^\d+$/.test(id)) return undefined;
  const elapsedSeconds = readElapsed(used);
  return {
    id,
    name,
    state,
    reason,
    status: toStatus({ state, reason, waitStatus, since, node }),
    ...(elapsedSeconds === undefined ? {} : { elapsedSeconds }),
  };
}

type Facts = Record<'state' | 'reason' | 'waitStatus' | 'since' | 'node', string>;

function toStatus({ state, reason, waitStatus, since, node }: Facts): BatchStatus {
  const phase = phaseOf(state);
  if (phase === undefined) return { state: 'unknown', words: `Slurm says ${state} (${reason})` };
  if (phase === 'ending') return { state: 'ending' };
  if (isEnd(phase)) return toEnded(endingOf(phase, Number(waitStatus), `${state} ${reason}`));
  if (phase === 'pending') {
    const told = reason === 'None' || reason === '' ? {} : { reason };
    return { state: 'pending', hopeless: isHopeless(reason), ...told };
  }
  // Seconds since 1970, as SLURM_TIME_FORMAT asks for; N/A before the start.
  const started = Number(since);
  return {
    state: 'running',
    ...(node === '' ? {} : { node }),
    ...(Number.isInteger(started) && started > 0 ? { since: new Date(started * 1000) } : {}),
  };
}

/** Why a job was killed the queue does not tell: without cgroups one over its memory looks like one that failed. */
function toEnded(ending: BatchEnding): BatchStatus {
  const wasKilled = ending.signal === 'SIGKILL' || ending.exitCode === 137;
  return ending.cause === 'failed' && wasKilled ? { state: 'ended' } : { state: 'ended', ending };
}

function endingOf(cause: Parameters<typeof toEnding>[0], waitStatus: number, words: string): BatchEnding {
  return toEnding(cause, waitStatus >> 8, waitStatus & 0x7f, words);
}

/** `[DD-][HH:]MM:SS` */
export function readElapsed(text: string): number | undefined {
  const match = /^(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)$/.exec(text.trim());
  if (!match) return undefined;
  const [days, hours, minutes, seconds] = match.slice(1).map((part) => Number(part ?? 0));
  return ((days! * 24 + hours!) * 60 + minutes!) * 60 + seconds!;
}
