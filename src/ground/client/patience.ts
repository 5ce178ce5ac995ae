import { setTimeout as pause } from 'node:timers/promises';
import { PilotageError } from '../base/errors.ts';
import { ServerUnreachable } from './transport.ts';

export interface Patience {
  /** Gives up after so long without progress. */
  readonly seconds: number;
  /** Told once per outage. */
  readonly onOutage?: (error: Error) => void;
  /** Told when the server answers again. */
  readonly onReturn?: () => void;
}

const DEFAULT: Patience = { seconds: 20 };
const FIRST_PAUSE_SECONDS = 0.2;
const LONGEST_PAUSE_SECONDS = 5;

interface Trying {
  readonly patience?: Patience | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Grows while there is progress. */
  readonly progress?: () => number;
  /** What else may pass, besides a server that is away. */
  readonly again?: (error: unknown) => boolean;
}

/** Acts again, with growing waits, as long as the server is away. What moves something is no failed try. */
export async function patiently<T>(act: () => Promise<T>, trying: Trying): Promise<T> {
  const { patience = DEFAULT, signal, progress } = trying;
  let since = performance.now();
  let seconds = FIRST_PAUSE_SECONDS;
  let reached = progress?.() ?? 0;
  let told = false;
  for (;;) {
    try {
      const answer = await act();
      if (told) patience.onReturn?.();
      return answer;
    } catch (error) {
      if (signal?.aborted || !(mayPass(error) || trying.again?.(error))) throw error;
      if ((progress?.() ?? 0) > reached) {
        reached = progress?.() ?? 0;
        since = performance.now();
        seconds = FIRST_PAUSE_SECONDS;
      }
      if (performance.now() - since > patience.seconds * 1000) throw error;
      if (!told) patience.onOutage?.(error as Error);
      told = true;
    }
    await pause(seconds * 1000, undefined, signal ? { signal } : {});
    seconds = Math.min(seconds * 2, LONGEST_PAUSE_SECONDS);
  }
}

function mayPass(error: unknown): boolean {
  if (error instanceof ServerUnreachable) return true;
  return error instanceof PilotageError && error.code === 'shutting-down';
}
