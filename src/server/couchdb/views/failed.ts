import { isErrorCode, messageOf, PilotageError } from '../../../ground/base/errors.ts';
import type { Failed } from './thread-messages.ts';

/** Errors do not cross threads whole: their code, message and details do. */
export function toFailed(error: unknown): Failed {
  const known = error instanceof PilotageError;
  return {
    code: known ? error.code : 'internal',
    message: messageOf(error),
    details: known ? { ...error.details } : {},
    trace: known || !(error instanceof Error) ? '' : (error.stack ?? ''),
  };
}

export function fromFailed({ code, message, details, trace }: Failed): PilotageError {
  return new PilotageError(isErrorCode(code) ? code : 'internal', message, {
    details,
    cause: trace === '' ? undefined : new Error(trace),
  });
}
