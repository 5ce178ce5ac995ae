import { messageOf, systemCode } from '../../../ground/base/errors.ts';
import { pause } from '../../staging/retry.ts';
import type { Context } from './context.ts';

const FULL_CODES = ['ENOSPC', 'EDQUOT'];
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30_000;

/**
 * Does what writes to the agent's own disk, and again while that is full: a job is not to fail for it, nor are its
 * results to be given up. Rejects when the signal comes.
 */
export async function withRoom<T>(
  { signal, show, log }: Pick<Context, 'signal' | 'show' | 'log'>,
  act: () => Promise<T>,
): Promise<T> {
  for (let wait = FIRST_PAUSE_MS; ; wait = Math.min(wait * 2, LONGEST_PAUSE_MS)) {
    signal.throwIfAborted();
    try {
      const done = await act();
      if (wait > FIRST_PAUSE_MS) show({ detail: undefined });
      return done;
    } catch (error) {
      if (signal.aborted || !isFull(error)) throw error;
      show({ detail: "there is no room on the agent's disk: make room where it runs; it tries again" });
      log.error({ error: messageOf(error) }, "no room on the agent's disk, a job waits for it: make room");
    }
    await pause(wait, signal);
  }
}

/** Also as the cause of what was said about it since. */
export function isFull(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) if (FULL_CODES.includes(systemCode(at) ?? '')) return true;
  return false;
}
