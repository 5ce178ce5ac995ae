import type { LiveAttempt } from '../../../ground/claimant/executor.ts';
import type { Claim, HeldAttempt, LogChunk, Report } from '../../../ground/protocol/exchange.ts';

export interface LocalKey {
  readonly submission: number;
  readonly idx: number;
}

/** A borrowed task in our hands, from the claim to the neighbour's answer. */
export interface LiveTask {
  /** What of it is needed to its end: there may be thousands. */
  readonly claim: Pick<Claim, 'task' | 'attempt' | 'secret'>;
  readonly attempt: LiveAttempt;
  /** Its place in our pool, once it is stored there. */
  local: LocalKey | undefined;
  /** Workers here spent so much on it, in milliseconds. */
  cpuMs: number;
  /** Its end is on its way to the neighbour. */
  isReported: boolean;
  /** Nobody wants it any more. */
  isDropped: boolean;
  finish(report: Report): void;
  noteProgress(progress: string | null): void;
}

export interface LiveTaskOptions {
  /** It is to be ended. */
  readonly onDrop: (task: LiveTask) => void;
  /** Somebody at home follows its output. Gives what grew since, synchronously from what was read ahead. */
  readonly takeLogs: (task: LiveTask, limit: { readonly bytes: number; readonly tailOnly: boolean }) => LogChunk[];
  readonly returnLogs: (task: LiveTask, chunk: LogChunk) => void;
}

export function createLiveTask({ task: name, attempt, secret }: Claim, options: LiveTaskOptions): LiveTask {
  const { promise, resolve } = Promise.withResolvers<Report>();
  let progress: HeldAttempt['progress'];
  let progressText: string | null = null;
  let isStarted = false;
  const task: LiveTask = {
    claim: { task: name, attempt, secret },
    local: undefined,
    cpuMs: 0,
    isReported: false,
    isDropped: false,
    finish: resolve,
    noteProgress(text) {
      isStarted = true;
      if (text === null || text === progressText) return;
      progressText = text;
      progress = JSON.parse(text) as NonNullable<HeldAttempt['progress']>;
    },
    attempt: {
      ended: promise,
      end: (cause) => {
        // When this server stops, what is borrowed goes on: workers here outlive it.
        if (cause !== 'dropped') return;
        task.isDropped = true;
        options.onDrop(task);
      },
      state: () => ({ ...(isStarted ? { started: true } : {}), ...(progress ? { progress } : {}) }),
      takeLogs: (limit) => options.takeLogs(task, limit),
      returnLogs: (chunk) => options.returnLogs(task, chunk),
    },
  };
  return task;
}
