import type { EndCause, Executor } from '../../src/ground/claimant/executor.ts';
import type { Claim, LogChunk, Report } from '../../src/ground/protocol/exchange.ts';

export interface ManualAttempt {
  readonly claim: Claim;
  readonly causes: EndCause[];
  /** Ends the attempt. */
  finish(how?: Partial<Report>): void;
  readonly logs: LogChunk[];
}

/** An executor whose attempts end when the test says so, or at once. */
export function manualExecutor(room: {
  cpus: number;
  instant?: boolean;
}): Executor & { attempts: ManualAttempt[]; settledTasks: string[]; grow(cpus: number): void } {
  const attempts: ManualAttempt[] = [];
  const settledTasks: string[] = [];
  let free = room.cpus;
  let roomGrew = (): void => {};
  return {
    attempts,
    settledTasks,
    grow: (cpus) => {
      free += cpus;
      roomGrew();
    },
    start: (claim) => {
      const ended = Promise.withResolvers<Report>();
      free -= 1;
      const { task, attempt, secret } = claim;
      let open = true;
      const made: ManualAttempt = {
        claim,
        causes: [],
        logs: [],
        finish: (how = {}) => {
          if (!open) return;
          open = false;
          free += 1;
          ended.resolve({ task, attempt, secret, outcome: 'succeeded', ...how });
        },
      };
      attempts.push(made);
      if (room.instant) made.finish();
      return {
        ended: ended.promise,
        end: (cause) => {
          made.causes.push(cause);
          made.finish({ outcome: 'ended' });
        },
        state: () => ({ started: true }),
        takeLogs: () => made.logs.splice(0),
        returnLogs: (chunk) => void made.logs.unshift(chunk),
      };
    },
    room: () => ({ offer: { cpus: free, memory: 0, gpus: 0, named: {} }, claims: free, ahead: 0, patient: false }),
    settled: (task) => void settledTasks.push(task),
    onRoom: (listener) => {
      roomGrew = listener;
    },
  };
}
