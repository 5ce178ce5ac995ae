import { messageOf, PilotageError } from '../../ground/base/errors.ts';
import type { BatchRef, BatchStatus, JobProcesses } from '../scheduler/scheduler.ts';
import { type Look, lookAtJobs } from './look-at-jobs.ts';
import type { Machine } from './machine.ts';

export interface WatchedJob {
  readonly ref: BatchRef;
  offsets(): { readonly stdout: number; readonly stderr: number };
  /** What was seen. Without a status the batch system did not answer, which proves nothing. Answers whether anything is new. */
  seen(look: Look, status: BatchStatus | undefined, processes: JobProcesses | undefined): boolean;
  /** The machine was not reached, or the batch system did not answer; again later. */
  unseen(error: unknown): void;
}

/** Looks at all jobs of one machine, with one command to the batch system per round, and one for the files of each hundred. */
export interface Watch {
  add(job: WatchedJob): void;
  remove(job: WatchedJob): void;
  /** Somebody looks: rounds are short for so long, and processes are told. */
  follow(ms: number): void;
  stats(): { readonly jobs: number; readonly intervalMs: number };
  close(): Promise<void>;
}

export interface WatchOptions {
  readonly shortestMs: number;
  readonly longestMs: number;
}

/** What a batch system that many share is asked at most, and how soon a plain process. */
export const WATCH_TIMES: Readonly<Record<Machine['scheduler']['name'], WatchOptions>> = {
  process: { shortestMs: 50, longestMs: 15_000 },
  slurm: { shortestMs: 1000, longestMs: 30_000 },
  'grid-engine': { shortestMs: 1000, longestMs: 30_000 },
};
/** Jobs whose files are looked at with one command: what they print is in memory at once, and takes its time there. */
const AT_ONCE = 100;
const BACK_OFF = 1.5;
const FOLLOWED_MS = 2000;

export function startWatch(machine: Machine, options: WatchOptions = WATCH_TIMES[machine.scheduler.name]): Watch {
  const { shortestMs, longestMs } = options;
  const jobs = new Set<WatchedJob>();
  const closing = new AbortController();
  let intervalMs = shortestMs;
  let followedUntil = 0;
  let timer: NodeJS.Timeout | undefined;
  let due = 0;
  let underWay: Promise<void> | undefined;

  const plan = (ms: number): void => {
    if (closing.signal.aborted || jobs.size === 0 || underWay) return;
    const at = performance.now() + ms;
    // Whoever comes later puts nothing off.
    if (timer && due <= at) return;
    clearTimeout(timer);
    due = at;
    timer = setTimeout(() => {
      timer = undefined;
      underWay = round().finally(() => {
        underWay = undefined;
        plan(nextMs());
      });
    }, ms);
  };
  const nextMs = (): number =>
    performance.now() < followedUntil ? Math.min(intervalMs, Math.max(FOLLOWED_MS, shortestMs)) : intervalMs;

  const round = async (): Promise<void> => {
    const asked = [...jobs];
    if (asked.length === 0) return;
    const isFollowed = performance.now() < followedUntil;
    try {
      const news = await lookOnce(machine, asked, isFollowed, closing.signal);
      intervalMs = news ? shortestMs : Math.min(longestMs, intervalMs * BACK_OFF);
    } catch (error) {
      if (closing.signal.aborted) return;
      intervalMs = Math.min(longestMs, Math.max(1000, intervalMs * BACK_OFF));
      for (const job of asked) if (jobs.has(job)) job.unseen(error);
    }
  };

  return {
    add(job) {
      jobs.add(job);
      intervalMs = shortestMs;
      plan(intervalMs);
    },
    remove: (job) => void jobs.delete(job),
    follow(ms) {
      const wasFollowed = performance.now() < followedUntil;
      followedUntil = performance.now() + ms;
      if (!wasFollowed) plan(0);
    },
    stats: () => ({ jobs: jobs.size, intervalMs }),
    async close() {
      closing.abort();
      clearTimeout(timer);
      jobs.clear();
      await underWay;
    },
  };

  async function lookOnce(
    { transport, scheduler }: Machine,
    asked: readonly WatchedJob[],
    isFollowed: boolean,
    signal: AbortSignal,
  ): Promise<boolean> {
    const refs = asked.map(({ ref }) => ref);
    // The batch system first: what is over there has written its exit code before.
    const statuses = await scheduler.poll(transport, refs).catch((error: unknown) => silent(error));
    const processes = isFollowed ? await scheduler.processes(transport, refs).catch(() => undefined) : undefined;
    let news = false;
    for (let from = 0; from < asked.length; from += AT_ONCE) {
      const part = asked.slice(from, from + AT_ONCE);
      const looks = await lookAtJobs(
        transport,
        part.map((job) => ({ directory: job.ref.directory, offsets: job.offsets() })),
        signal,
      );
      for (const [at, job] of part.entries()) {
        if (!jobs.has(job)) continue;
        const status = statuses instanceof Map ? statuses.get(job.ref.id) : undefined;
        if (job.seen(looks[at] as Look, status, processes?.get(job.ref.id))) news = true;
        if (!(statuses instanceof Map)) job.unseen(statuses);
      }
    }
    return news;
  }
}

/** A batch system that does not answer proves nothing; a machine that does not is another matter. */
function silent(error: unknown): Error {
  if (error instanceof PilotageError && error.code === 'scheduler-silent') return error;
  throw error instanceof Error ? error : new Error(messageOf(error));
}
