import { setTimeout as pause } from 'node:timers/promises';
import { messageOf, PilotageError } from '../../ground/base/errors.ts';
import type { Log } from '../../ground/base/log.ts';
import { ServerUnreachable } from '../../ground/client/transport.ts';
import type { JobChange } from '../../ground/protocol/service.ts';
import type { ChangeAnswer, HostSession } from './host-session.ts';

/**
 * Tells the server about changes, many at once, in their order. A change is told again until it is answered, however long
 * the server is away: it knows what it has been told before. Rejects when the host has been replaced or stops.
 */
export interface Reporter {
  report(change: JobChange): Promise<ChangeAnswer>;
}

const MOST = 500;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5000;

interface Waiting {
  readonly change: JobChange;
  readonly answer: PromiseWithResolvers<ChangeAnswer>;
}

export function createReporter(session: HostSession, options: { signal: AbortSignal; log: Log }): Reporter {
  const { signal, log } = options;
  const queue: Waiting[] = [];
  let isSending = false;

  const send = async (): Promise<void> => {
    if (isSending) return;
    isSending = true;
    // What is reported in the same turn goes along.
    await new Promise((resolve) => setImmediate(resolve));
    while (queue.length > 0) await sendSome(queue.splice(0, MOST));
    isSending = false;
  };

  const sendSome = async (some: readonly Waiting[]): Promise<void> => {
    try {
      const results = await untilAnswered(some);
      for (const [at, { answer }] of some.entries()) answer.resolve(results[at] as ChangeAnswer);
    } catch (error) {
      // One that the server cannot take must not keep the others from it.
      if (some.length > 1 && !signal.aborted && !isReplaced(error)) for (const one of some) await sendSome([one]);
      else for (const { answer } of some) answer.reject(error);
    }
  };

  const untilAnswered = async (some: readonly Waiting[]): Promise<readonly ChangeAnswer[]> => {
    for (let wait = FIRST_PAUSE_MS, told = false; ; wait = Math.min(2 * wait, LONGEST_PAUSE_MS)) {
      try {
        const results = await session.change(
          some.map(({ change }) => change),
          signal,
        );
        if (told) log.info({}, 'the server answers again');
        return results;
      } catch (error) {
        if (signal.aborted || !mayPass(error)) throw error;
        if (!told) log.warn({}, `changes of jobs cannot be told, it will be tried again: ${messageOf(error)}`);
        told = true;
        await pause(wait, undefined, { signal });
      }
    }
  };

  return {
    report(change) {
      const answer = Promise.withResolvers<ChangeAnswer>();
      queue.push({ change, answer });
      void send();
      return answer.promise;
    },
  };
}

export function isReplaced(error: unknown): boolean {
  return error instanceof PilotageError && error.code === 'host-replaced';
}

/** What is no answer, or one that says: not now. */
export function mayPass(error: unknown): boolean {
  if (error instanceof ServerUnreachable) return true;
  if (!(error instanceof PilotageError)) return false;
  return [
    'shutting-down',
    'storage-full',
    'storage-failed',
    'too-many-failures',
    'unauthenticated',
    'internal',
  ].includes(error.code);
}
