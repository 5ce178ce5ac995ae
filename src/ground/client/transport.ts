import type { Readable } from 'node:stream';

export interface WireRequest {
  readonly method: string;
  /** Path with query, from the root of the server. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer | Readable;
  /** The pieces of a streamed body belong to nobody else: their memory may be given back once they are sent. */
  readonly bodyIsGivenAway?: boolean;
  readonly signal?: AbortSignal;
  /** Without an answer for so long the request fails. */
  readonly timeoutSeconds: number;
}

export interface WireResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Readable;
}

/** How bytes get to a server and back: over TCP, over TLS with a pinned certificate, or through something else. */
export interface Transport {
  /** Rejects with `ServerUnreachable` when no answer came: then the request may or may not have been carried out. */
  send(request: WireRequest): Promise<WireResponse>;
  close(): void;
}

/** No answer. Says which server, what went wrong and what to look at; the request may or may not have been carried out. */
export class ServerUnreachable extends Error {
  constructor(server: string, cause: unknown) {
    super(`no answer from ${server} (${reasonOf(cause)}): is the server running, and reachable from here?`, { cause });
    this.name = 'ServerUnreachable';
  }
}

function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  if ('code' in cause && typeof cause.code === 'string' && !cause.message.includes(cause.code))
    return `${cause.code}: ${cause.message}`;
  return cause.message || ('code' in cause ? String(cause.code) : cause.name);
}
