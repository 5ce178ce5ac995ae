import { ERROR_CODES, isErrorCode, PilotageError } from '../../ground/base/errors.ts';

/** An error in CouchDB's own form: `{"error", "reason"}`. Clients act on `error`; `reason` is for people. */
export class CouchError extends Error {
  readonly status: number;
  readonly error: string;
  readonly reason: string;

  constructor(status: number, error: string, reason: string) {
    super(reason);
    this.name = 'CouchError';
    this.status = status;
    this.error = error;
    this.reason = reason;
  }
}

export const badRequest = (reason: string) => new CouchError(400, 'bad_request', reason);
export const notFound = (reason: string) => new CouchError(404, 'not_found', reason);
export const conflict = () => new CouchError(409, 'conflict', 'Document update conflict.');

/** What CouchDB would call errors of ours. */
const NAMES: Readonly<Record<number, string>> = {
  400: 'bad_request',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not_found',
  409: 'conflict',
  413: 'too_large',
  429: 'too_many_requests',
  503: 'service_unavailable',
  504: 'timeout',
};

export function toCouchError(error: unknown): CouchError {
  if (error instanceof CouchError) return error;
  if (error instanceof PilotageError) {
    const { couch } = error.details as { couch?: { status: number; error: string; reason: string } };
    if (couch) return new CouchError(couch.status, couch.error, couch.reason);
    const status = isErrorCode(error.code) ? ERROR_CODES[error.code] : 500;
    return new CouchError(status, NAMES[status] ?? 'internal_server_error', error.message);
  }
  const status = error instanceof Error && 'statusCode' in error ? error.statusCode : undefined;
  // What the HTTP library itself could not read.
  if (error instanceof Error && typeof status === 'number' && status >= 400 && status < 500)
    return new CouchError(
      status,
      status === 415 ? 'bad_content_type' : (NAMES[status] ?? 'bad_request'),
      error.message,
    );
  return new CouchError(
    500,
    'internal_server_error',
    'the server failed at this request: its log says why. Please report it',
  );
}
