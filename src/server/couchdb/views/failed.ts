import { isErrorCode, messageOf, PilotageError, systemCode } from '../../../ground/base/errors.ts';
import type { Failed } from './thread-messages.ts';

/** Errors do not cross threads whole: their code, message and details do. */
export function toFailed(error: unknown): Failed {
  if (systemCode(error) === 'ERR_SQLITE_ERROR') return toFailed(toStorageError(error));
  const known = error instanceof PilotageError;
  return {
    code: known ? error.code : 'internal',
    message: messageOf(error),
    details: known ? { ...error.details } : {},
    trace: known || !(error instanceof Error) ? '' : (error.stack ?? ''),
  };
}

const SQLITE_FULL = 13;

function toStorageError(error: unknown): PilotageError {
  const full = ((error as { errcode?: number }).errcode ?? 0) === SQLITE_FULL;
  return new PilotageError(
    full ? 'storage-full' : 'storage-failed',
    `an index of the views cannot be written or read (${messageOf(error)}): ${full ? 'make room on the disk' : 'look at the disk'} and ask again`,
    { cause: error },
  );
}

export function fromFailed({ code, message, details, trace }: Failed): PilotageError {
  return new PilotageError(isErrorCode(code) ? code : 'internal', message, {
    details,
    cause: trace === '' ? undefined : new Error(trace),
  });
}
