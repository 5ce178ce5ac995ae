import { type ErrorCode, PilotageError } from '../../../ground/base/errors.ts';

/** What CouchDB would answer: `details.couch` of the error, for the routes to pass on. */
export interface CouchAnswer {
  readonly status: number;
  readonly error: string;
  readonly reason: string;
}

export function couchError(code: ErrorCode, status: number, error: string, reason: string): PilotageError {
  return new PilotageError(code, reason, { details: { couch: { status, error, reason } satisfies CouchAnswer } });
}

/** Parameters that fit neither each other nor the view. */
export function queryParseError(reason: string): PilotageError {
  return couchError('bad-request', 400, 'query_parse_error', reason);
}
