import type { Executor } from '../../ground/claimant/executor.ts';
import type { Offer, Report } from '../../ground/protocol/exchange.ts';
import type { Runner } from '../runner/runner.ts';
import type { DiskWatch } from '../staging/disk-watch.ts';
import { createLanes } from './lanes.ts';
import { createLedger } from './resources.ts';
import { createWaiting, type Waiting } from './waiting.ts';

export interface ExecutorOptions {
  readonly total: Offer;
  readonly runner: Runner;
  /** Nothing is asked for while the disk is full. */
  readonly disk: DiskWatch;
  told(message: string): void;
}

/** What did not find room for so long goes back to the server, uncharged. */
const WAIT_MS = 1000;
/** A machine that cannot start programs (full disk, no processes left) asks for none for so long. */
const UNWELL_MS = 30_000;
/** Tasks that ask for no cpu at all are handed out beside the others, so many at once. */
const CPULESS = 16;
/** Programs shorter than this are claimed ahead of the others' end: work for some 50 ms. */
const SHORT_MS = 25;
const AHEAD_MS = 50;
const MAX_AHEAD = 256;

/** Carries out attempts as programs on this machine, within what it has. */
export function createLocalExecutor(options: ExecutorOptions): Executor & { close(): void } {
  const queue = new Set<Waiting>();
  let roomGrew = (): void => {};
  let unwellUntil = 0;

  const lanes = createLanes(options.runner, createLedger(options.total), () => {
    startWaiting();
    roomGrew();
  });
  const startWaiting = (): void => {
    for (const waiting of queue) if (begin(waiting)) queue.delete(waiting);
  };
  const begin = (waiting: Waiting): boolean => {
    const run = lanes.start(waiting) ?? (lanes.turnMs() <= SHORT_MS ? lanes.startBehind(waiting) : undefined);
    if (!run) return false;
    waiting.begin(run);
    void run.ended.then(watchHealth);
    return true;
  };
  const watchHealth = (report: Report): void => {
    // A full disk is watched by itself, and was told.
    if (report.outcome !== 'released' || report.message === undefined || options.disk.isFull) return;
    unwellUntil = performance.now() + UNWELL_MS;
    setTimeout(() => roomGrew(), UNWELL_MS + 1).unref();
    options.told(`${report.message}; claiming nothing for ${UNWELL_MS / 1000} s`);
  };
  const releaseStale = (): void => {
    const before = performance.now() - WAIT_MS;
    for (const waiting of queue) {
      if (waiting.since > before) continue;
      queue.delete(waiting);
      waiting.release();
    }
    lanes.withdrawBehind(before);
  };
  options.disk.onRoom(() => roomGrew());
  const timer = setInterval(releaseStale, WAIT_MS / 2);

  return {
    start: (claim, spec) => {
      const waiting = createWaiting(claim, spec, (gone) => queue.delete(gone));
      if (!begin(waiting)) queue.add(waiting);
      return waiting.live;
    },
    room: () => {
      const offer = lanes.free();
      if (options.disk.isFull || performance.now() < unwellUntil) return { offer, claims: 0, ahead: 0, patient: false };
      const wanted = aheadFor(options.total.cpus, lanes.turnMs());
      const waiting = queue.size + lanes.behind;
      const claims = offer.cpus > 0 && queue.size === 0 ? offer.cpus + CPULESS : 0;
      return { offer, claims, ahead: Math.max(0, wanted - waiting), patient: waiting > wanted / 2 };
    },
    settled: (task, attempt) => options.runner.settled(task, attempt),
    onRoom: (listener) => {
      roomGrew = listener;
    },
    close: () => clearInterval(timer),
  };
}

/** How much to claim ahead, if programs are so short that a round trip for each would be felt. */
function aheadFor(cpus: number, turnMs: number): number {
  return turnMs > SHORT_MS ? 0 : Math.min(MAX_AHEAD, Math.ceil((AHEAD_MS / turnMs) * cpus));
}
