/** Every failure that a caller may act on carries one of these codes; a code never changes its meaning. */
export const ERROR_CODES = {
  'bad-request': 400,
  'bad-spec': 400,
  'missing-placeholder': 400,
  'dependency-cycle': 400,
  'impossible-resources': 400,
  'array-too-large': 400,
  'too-deep': 400,
  'digest-mismatch': 400,
  unauthenticated: 401,
  forbidden: 403,
  'not-found': 404,
  'already-exists': 409,
  'wrong-state': 409,
  'over-quota': 409,
  'already-hosted': 409,
  'host-replaced': 410,
  'stale-exchange': 409,
  'session-ended': 410,
  gone: 410,
  'body-too-large': 413,
  'incompatible-version': 426,
  'too-many-failures': 429,
  'credential-missing': 409,
  'host-key-unknown': 409,
  'host-key-changed': 409,
  internal: 500,
  /** A file of whoever asks, not of the server. */
  'not-written': 500,
  unreachable: 502,
  'login-refused': 502,
  'connection-lost': 502,
  'transfer-failed': 502,
  'not-ready': 503,
  busy: 503,
  'storage-full': 503,
  'storage-failed': 503,
  'shutting-down': 503,
  interrupted: 503,
  'timed-out': 504,
  'scheduler-silent': 504,
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** A failure with a stable code. The message says what happened, to what, and what to do now. */
export class PilotageError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; details?: Record<string, unknown> } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.name = 'PilotageError';
    this.code = code;
    this.details = options.details ?? {};
  }
}

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERROR_CODES, text);
}

/** The code of a system error (`ENOENT`, `ENOSPC`, …), if the thing thrown is one. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
