import { setTimeout as sleep } from 'node:timers/promises';
import { PilotageError } from '../../ground/base/errors.ts';
import { ServerUnreachable } from '../../ground/client/transport.ts';
import { ServerNotRunning } from './connect.ts';

export interface Patience {
  /** Gives up after so long without an answer. */
  readonly seconds: number;
  readonly signal?: AbortSignal;
  /** Told once per outage. */
  readonly onOutage?: (error: Error) => void;
  /** Told when the server answers again. */
  readonly onReturn?: () => void;
}

const LONGEST_PAUSE_SECONDS = 5;

/**
 * Makes a call until it is answered, with longer and longer pauses. For calls that may be made twice. A server that is
 * known to be gone before it answered anything (`ServerNotRunning`) is not waited for.
 */
export async function repeat<T>(call: () => Promise<T>, patience: Patience): Promise<T> {
  const since = performance.now();
  let pause = 0.2;
  let told = false;
  for (;;) {
    try {
      const answer = await call();
      if (told) patience.onReturn?.();
      return answer;
    } catch (error) {
      if (!mayPass(error) || performance.now() - since > patience.seconds * 1000) throw error;
      if (!told) patience.onOutage?.(error as Error);
      told = true;
    }
    await sleep(pause * 1000, undefined, patience.signal ? { signal: patience.signal } : {});
    pause = Math.min(pause * 2, LONGEST_PAUSE_SECONDS);
  }
}

function mayPass(error: unknown): boolean {
  if (error instanceof ServerNotRunning) return false;
  if (error instanceof ServerUnreachable) return true;
  return error instanceof PilotageError && error.code === 'shutting-down';
}
