import { NOTICED } from '../core/notice.ts';
import type { Store } from '../store/store.ts';

/**
 * What those who wait are woken by. Notes reach all servers of a database; a lost one is made up for by the waiter's
 * own time limit.
 */
export interface Signals {
  /** There is something to claim. */
  queued(): void;
  /** A worker has to be told something. */
  session(session: string): void;
  /** Tasks of a submission changed state. */
  changed(submission: number): void;
  /** Somebody other than its host did something to a job of a service. */
  service(service: number): void;
  /** There are mails, or calls of web hooks, to deliver. */
  noticed(): void;
  /** A task's output grew. */
  logged(task: string): void;
  /** Resolves with `note` when one of the topics is signalled, with `time` after the time, with `end` when the signal aborts. */
  wait(topics: readonly string[], waitMs: number, end: AbortSignal): Promise<'note' | 'time' | 'end'>;
}

export const QUEUED = 'q';
export const sessionTopic = (session: string) => `s:${session}`;
export const submissionTopic = (submission: number) => `f:${submission}`;
/** Tasks of some submission changed state: for those who look at whole projects. */
export const ANY_SUBMISSION = 'f';
export const serviceTopic = (service: number) => `v:${service}`;
export const logTopic = (task: string) => `l:${task}`;

export function createSignals(store: Store): Signals {
  const waiters = new Map<string, Set<() => void>>();
  store.onNote((note) => {
    for (const wake of [...(waiters.get(note) ?? [])]) wake();
    if (note.startsWith('f:')) for (const wake of [...(waiters.get(ANY_SUBMISSION) ?? [])]) wake();
  });
  return {
    queued: () => store.tell(QUEUED),
    session: (session) => store.tell(sessionTopic(session)),
    changed: (submission) => store.tell(submissionTopic(submission)),
    service: (service) => store.tell(serviceTopic(service)),
    noticed: () => store.tell(NOTICED),
    logged: (task) => store.tell(logTopic(task)),
    wait: (topics, waitMs, end) => waitFor(waiters, topics, waitMs, end),
  };
}

function waitFor(
  waiters: Map<string, Set<() => void>>,
  topics: readonly string[],
  waitMs: number,
  end: AbortSignal,
): Promise<'note' | 'time' | 'end'> {
  if (end.aborted) return Promise.resolve('end');
  const { promise, resolve } = Promise.withResolvers<'note' | 'time' | 'end'>();
  const woken = () => resolve('note');
  const ended = () => resolve('end');
  const timer = setTimeout(() => resolve('time'), waitMs);
  end.addEventListener('abort', ended);
  for (const topic of topics) {
    const set = waiters.get(topic) ?? new Set();
    waiters.set(topic, set.add(woken));
  }
  return promise.finally(() => {
    clearTimeout(timer);
    end.removeEventListener('abort', ended);
    for (const topic of topics) {
      const set = waiters.get(topic);
      set?.delete(woken);
      if (set?.size === 0) waiters.delete(topic);
    }
  });
}
