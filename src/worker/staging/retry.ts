import { ERROR_CODES, messageOf, PilotageError } from '../../ground/base/errors.ts';
import { ServerUnreachable } from '../../ground/client/transport.ts';

const FIRST_MS = 200;
const LONGEST_MS = 10_000;

/** Is the server away or in trouble, so that the same call may work later? */
export function mayWorkLater(error: unknown): boolean {
  if (error instanceof ServerUnreachable) return true;
  if (!(error instanceof PilotageError)) return false;
  return ERROR_CODES[error.code] >= 500 || error.code === 'unauthenticated' || error.code === 'too-many-failures';
}

/** Tries again, with growing waits and for ever, what fails because the server is away; stops when the signal comes. */
export async function retryWhileAway<T>(
  act: () => Promise<T>,
  signal: AbortSignal,
  told: (why: string) => void,
): Promise<T> {
  for (let wait = FIRST_MS; ; wait = Math.min(wait * 2, LONGEST_MS)) {
    signal.throwIfAborted();
    try {
      return await act();
    } catch (error) {
      if (signal.aborted || !mayWorkLater(error)) throw error;
      told(messageOf(error));
    }
    await pause(wait * (0.75 + Math.random() / 2), signal);
  }
}

/** Resolves after the time or when the signal comes, whichever is first. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const stop = (): void => {
    clearTimeout(timer);
    resolve();
  };
  signal.addEventListener('abort', stop, { once: true });
  return promise.finally(() => signal.removeEventListener('abort', stop));
}
