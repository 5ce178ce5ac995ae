import type { LogChunk } from '../../ground/protocol/exchange.ts';
import type { ProcessView } from '../../ground/protocol/job.ts';
import type { Progress } from '../../ground/protocol/task.ts';
import type { JobProcesses } from '../scheduler/scheduler.ts';
import type { Look } from './look-at-jobs.ts';

/** What comes back of a job while it runs: output, progress, processes. */
export interface JobOutput {
  offsets(): { readonly stdout: number; readonly stderr: number };
  /** Answers whether anything is new. */
  take(look: Look, processes: JobProcesses | undefined): boolean;
  takeChunks(limit: { readonly bytes: number; readonly tailOnly: boolean }): LogChunk[];
  returnChunk(chunk: LogChunk): void;
  /** The same object as long as nothing changed. */
  progress(): Progress | undefined;
  processes(): { readonly processes: readonly ProcessView[]; readonly processesAt: string } | undefined;
  /** When it was first seen to run. */
  startedAt(): string | undefined;
  readonly peak: { cpuSeconds?: number; memory?: number };
}

type Stream = 'stdout' | 'stderr';
interface Tail {
  /** Where in the file the bytes begin. */
  offset: number;
  bytes: Buffer;
}

/** Kept of what was not sent yet, of each stream. */
const KEPT_BYTES = 256 * 1024;
const CHUNK_BYTES = 64 * 1024;

export function createJobOutput({ task, attempt }: { readonly task: string; readonly attempt: number }): JobOutput {
  const tails: Record<Stream, Tail> = {
    stdout: { offset: 0, bytes: Buffer.alloc(0) },
    stderr: { offset: 0, bytes: Buffer.alloc(0) },
  };
  const peak: JobOutput['peak'] = {};
  let progress: Progress | undefined;
  let progressText: string | undefined;
  let seen: ReturnType<JobOutput['processes']>;
  let startedAt: string | undefined;

  const grow = (stream: Stream, piece: Look['stdout']): boolean => {
    if (!piece || piece.bytes.length === 0) return false;
    const tail = tails[stream];
    const isNext = piece.offset === tail.offset + tail.bytes.length;
    const bytes = isNext ? Buffer.concat([tail.bytes, piece.bytes]) : piece.bytes;
    const kept = bytes.subarray(Math.max(0, bytes.length - KEPT_BYTES));
    tails[stream] = { offset: piece.offset + piece.bytes.length - kept.length, bytes: Buffer.from(kept) };
    return true;
  };

  return {
    offsets: () => ({
      stdout: tails.stdout.offset + tails.stdout.bytes.length,
      stderr: tails.stderr.offset + tails.stderr.bytes.length,
    }),
    take(look, processes) {
      if (look.hasStarted) startedAt ??= new Date().toISOString();
      let news = [grow('stdout', look.stdout), grow('stderr', look.stderr)].includes(true);
      if (look.progress !== undefined && look.progress !== progressText) {
        progressText = look.progress;
        progress = parseProgress(look.progress) ?? progress;
        news = true;
      }
      if (processes) {
        seen = { processes: processes.processes.map(toView), processesAt: new Date().toISOString() };
        peak.cpuSeconds = Math.max(peak.cpuSeconds ?? 0, processes.cpuSeconds ?? 0);
        peak.memory = Math.max(peak.memory ?? 0, processes.rssBytes ?? 0);
      }
      return news;
    },
    takeChunks({ bytes, tailOnly }) {
      return (['stdout', 'stderr'] as const).flatMap((stream): LogChunk[] => {
        const tail = tails[stream];
        if (tail.bytes.length === 0) return [];
        const most = Math.min(bytes, CHUNK_BYTES);
        const skipped = tailOnly ? Math.max(0, tail.bytes.length - most) : 0;
        const taken = tail.bytes.subarray(skipped, skipped + most);
        const offset = tail.offset + skipped;
        tails[stream] = { offset: offset + taken.length, bytes: tail.bytes.subarray(skipped + taken.length) };
        return [{ task, attempt, stream, offset, data: taken.toString('base64') }];
      });
    },
    returnChunk({ stream, offset, data }) {
      const bytes = Buffer.from(data, 'base64');
      const tail = tails[stream];
      if (offset + bytes.length === tail.offset) tails[stream] = { offset, bytes: Buffer.concat([bytes, tail.bytes]) };
    },
    progress: () => progress,
    processes: () => seen,
    startedAt: () => startedAt,
    peak,
  };
}

/** A line that is no progress changes nothing. */
function parseProgress(line: string): Progress | undefined {
  try {
    const { fraction, message } = JSON.parse(line) as { fraction?: unknown; message?: unknown };
    return {
      ...(typeof fraction === 'number' && fraction >= 0 && fraction <= 1 ? { fraction } : {}),
      ...(typeof message === 'string' ? { message: message.slice(0, 1000) } : {}),
    };
  } catch {
    return undefined;
  }
}

function toView(one: JobProcesses['processes'][number]): ProcessView {
  return {
    pid: one.pid,
    parent: one.parent ?? null,
    command: (one.command ?? '').slice(0, 1000),
    cpuSeconds: one.cpuSeconds ?? null,
    memory: one.rssBytes ?? null,
    elapsedSeconds: one.elapsedSeconds ?? null,
  };
}
