import { PilotageError } from '../../src/ground/base/errors.ts';
import { ServerUnreachable } from '../../src/ground/client/transport.ts';

/** While servers are killed a call may fail for a moment: the caller tries again. Anything else is an error. */
export function ignoreOutage(error: unknown): undefined {
  if (error instanceof ServerUnreachable) return undefined;
  if (error instanceof PilotageError && ['storage-failed', 'shutting-down', 'unauthenticated'].includes(error.code))
    return undefined;
  throw error;
}
