import { ERROR_CODES, PilotageError } from '../../ground/base/errors.ts';
import type { Problem } from '../../ground/protocol/problem.ts';
import { describeInvalid, isInvalid } from './invalid-request.ts';

/** An error as it goes over the wire. What is nobody's business is not in it. */
export function toProblem(error: unknown): Problem {
  const known = toPilotageError(error);
  const retryAfter = known.details.retryAfterSeconds;
  return {
    type: 'about:blank',
    title: known.code,
    status: ERROR_CODES[known.code],
    code: known.code,
    detail: known.message,
    ...(typeof retryAfter === 'number' ? { retryAfterSeconds: retryAfter } : {}),
  };
}

/** Errors of the web framework in our own words. */
export function toPilotageError(error: unknown): PilotageError {
  if (error instanceof PilotageError) return error;
  if (isInvalid(error)) return new PilotageError('bad-request', describeInvalid(error), { cause: error });
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new PilotageError(
        'body-too-large',
        'the request is too large: send large lists in chunks, and files as blobs',
        { cause: error },
      );
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new PilotageError(
        'bad-request',
        'the request must be JSON, with the header Content-Type: application/json',
        { cause: error },
      );
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return new PilotageError('bad-request', 'the body of the request is not JSON', { cause: error });
  }
  if (error instanceof SyntaxError)
    return new PilotageError('bad-request', `the body of the request is not JSON: ${error.message}`, { cause: error });
  const status = typeof error === 'object' && error !== null && 'statusCode' in error ? error.statusCode : undefined;
  if (typeof status === 'number' && status >= 400 && status < 500)
    return new PilotageError('bad-request', String((error as unknown as Error).message), { cause: error });
  return new PilotageError(
    'internal',
    'the server failed at this request, and nothing says why here: its log does. Please report it',
    { cause: error },
  );
}
