import { ERROR_CODES, PilotageError } from '../../ground/base/errors.ts';
import { ServerUnreachable } from '../../ground/client/transport.ts';

/** What scripts can trust. `ours` is the code of `run` when not the program failed but something around it. */
export const EXIT = { done: 0, failed: 1, usage: 2, unreachable: 3, ours: 125, interrupted: 130 } as const;

/** 4xx is something that the caller can put right, except when the thing named is not there or not in the right state. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof ServerUnreachable) return EXIT.unreachable;
  if (!(error instanceof PilotageError)) return EXIT.failed;
  const status = ERROR_CODES[error.code];
  if (status === 503) return EXIT.unreachable;
  return status >= 500 || status === 404 || status === 409 || status === 410 ? EXIT.failed : EXIT.usage;
}
