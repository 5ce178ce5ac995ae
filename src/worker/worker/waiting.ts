import type { LiveAttempt } from '../../ground/claimant/executor.ts';
import type { Claim, LogChunk, Offer, Report } from '../../ground/protocol/exchange.ts';
import type { TaskSpec } from '../../ground/protocol/spec.ts';
import type { AttemptRun } from '../runner/attempt-run.ts';
import { needsOf } from './resources.ts';

/** A claimed attempt, before and after it begins: claims may cross with programs that have not ended yet. */
export interface Waiting {
  readonly claim: Claim;
  readonly spec: TaskSpec;
  readonly needs: Offer;
  readonly since: number;
  /** As the claimant sees it, all the while. */
  readonly live: LiveAttempt;
  begin(run: AttemptRun): void;
  /** Gives it back unstarted. */
  release(): void;
}

/** `leave` is told when it is ended before it began. */
export function createWaiting(claim: Claim, spec: TaskSpec, leave: (waiting: Waiting) => void): Waiting {
  const { task, attempt, secret } = claim;
  const ended = Promise.withResolvers<Report>();
  let run: AttemptRun | undefined;
  const waiting: Waiting = {
    claim,
    spec,
    needs: needsOf(spec),
    since: performance.now(),
    begin: (begun) => {
      run = begun;
      void begun.ended.then(ended.resolve);
    },
    release: () => ended.resolve({ task, attempt, secret, outcome: 'released' }),
    live: {
      ended: ended.promise,
      end: (cause) => {
        if (run) {
          run.end(cause);
          return;
        }
        leave(waiting);
        waiting.release();
      },
      state: () => run?.state() ?? { started: false },
      takeLogs: (limit) => run?.takeLogs(limit) ?? [],
      returnLogs: (chunk: LogChunk) => run?.returnLogs(chunk),
    },
  };
  return waiting;
}
