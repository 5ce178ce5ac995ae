import type { Executor, LiveAttempt } from '../../ground/claimant/executor.ts';
import type { Claim, Offer, Report } from '../../ground/protocol/exchange.ts';
import type { TaskSpec } from '../../ground/protocol/spec.ts';
import type { AttemptRun } from '../runner/attempt-run.ts';
import type { Runner } from '../runner/runner.ts';
import { createLedger, needsOf } from './resources.ts';

export interface ExecutorOptions {
  readonly total: Offer;
  readonly runner: Runner;
  told(message: string): void;
}

/** An attempt that waits for room: claims may cross with programs that have not ended yet. */
interface Waiting {
  readonly claim: Claim;
  readonly spec: TaskSpec;
  readonly needs: Offer;
  readonly since: number;
  begin(run: AttemptRun): void;
  release(message?: string): void;
}

/** What did not find room for so long goes back to the server, uncharged. */
const WAIT_MS = 1000;
/** A machine that cannot start programs (full disk, no processes left) asks for none for so long. */
const UNWELL_MS = 30_000;
/** Tasks that ask for no cpu at all are handed out beside the others, so many at once. */
const CPULESS = 16;

/** Programs shorter than this are claimed ahead of the others' end. */
const SHORT_MS = 25;
const AHEAD_MS = 50;
const MAX_AHEAD = 256;

/** Carries out attempts as programs on this machine, within what it has. */
export function createLocalExecutor(options: ExecutorOptions): Executor & { close(): void } {
  const ledger = createLedger(options.total);
  const queue = new Set<Waiting>();
  let roomGrew = (): void => {};
  let unwellUntil = 0;
  /** How long programs take here of late. */
  let typicalMs = 1000;
  let lastEnd = 0;

  const startFitting = (): void => {
    for (const waiting of queue) {
      if (!ledger.fits(waiting.needs)) continue;
      queue.delete(waiting);
      launch(waiting);
    }
  };
  const launch = ({ claim, spec, needs, begin }: Waiting): void => {
    const gpus = ledger.take(needs);
    const run = options.runner.run({ claim, spec, gpus });
    const begun = performance.now();
    begin(run);
    void run.programEnded.then(() => {
      typicalMs += (performance.now() - begun - typicalMs) / 8;
      lastEnd = performance.now();
      ledger.give(needs, gpus);
      startFitting();
      roomGrew();
    });
    void run.ended.then(watchHealth);
  };
  const watchHealth = (report: Report): void => {
    if (report.outcome !== 'released' || report.message === undefined) return;
    unwellUntil = performance.now() + UNWELL_MS;
    setTimeout(() => roomGrew(), UNWELL_MS + 1).unref();
    options.told(`${report.message}; claiming nothing for ${UNWELL_MS / 1000} s`);
  };
  const releaseStale = (): void => {
    const before = performance.now() - WAIT_MS;
    for (const waiting of queue) if (waiting.since < before) waiting.release();
  };
  const timer = setInterval(releaseStale, WAIT_MS / 2);

  return {
    start: (claim, spec) => {
      const waiting = makeWaiting(claim, spec, (gone) => queue.delete(gone));
      if (ledger.fits(waiting.needs)) launch(waiting);
      else queue.add(waiting);
      return waiting.live;
    },
    room: () => {
      const offer = ledger.free();
      if (performance.now() < unwellUntil) return { offer, claims: 0, ahead: 0, patient: false };
      const wanted = aheadFor(options.total.cpus, Math.max(typicalMs, performance.now() - lastEnd));
      const claims = offer.cpus > 0 && queue.size === 0 ? offer.cpus + CPULESS : 0;
      return { offer, claims, ahead: Math.max(0, wanted - queue.size), patient: queue.size > wanted / 2 };
    },
    settled: (task, attempt) => options.runner.settled(task, attempt),
    onRoom: (listener) => {
      roomGrew = listener;
    },
    close: () => clearInterval(timer),
  };
}

/** Work for some 50 ms, if programs are so short that a round trip for each would be felt. */
function aheadFor(cpus: number, typicalMs: number): number {
  return typicalMs > SHORT_MS ? 0 : Math.min(MAX_AHEAD, Math.ceil((AHEAD_MS / typicalMs) * cpus));
}

function makeWaiting(claim: Claim, spec: TaskSpec, leave: (waiting: Waiting) => void): Waiting & { live: LiveAttempt } {
  const { task, attempt, secret } = claim;
  const ended = Promise.withResolvers<Report>();
  let run: AttemptRun | undefined;
  const waiting = {
    claim,
    spec,
    needs: needsOf(spec),
    since: performance.now(),
    begin: (begun: AttemptRun) => {
      run = begun;
      void begun.ended.then(ended.resolve);
    },
    release: () => {
      leave(waiting);
      ended.resolve({ task, attempt, secret, outcome: 'released' });
    },
    live: {
      ended: ended.promise,
      end: (cause: 'dropped' | 'stopped') => (run ? run.end(cause) : waiting.release()),
      state: () => run?.state() ?? { started: false },
      takeLogs: (limit: { bytes: number; tailOnly: boolean }) => run?.takeLogs(limit) ?? [],
      returnLogs: (chunk: Parameters<LiveAttempt['returnLogs']>[0]) => run?.returnLogs(chunk),
    },
  };
  return waiting;
}
