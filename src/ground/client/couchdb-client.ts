import type { Readable } from 'node:stream';
import { PilotageError } from '../base/errors.ts';
import { parseExact } from '../base/exact-json.ts';
import { httpTransport } from './http-transport.ts';
import { ServerUnreachable, type WireResponse } from './transport.ts';

/** A server that speaks CouchDB, and how one enters it. */
export interface CouchdbTarget {
  /** Also with a path: what is asked for stands below it. */
  readonly url: string;
  readonly user: string | null;
  readonly password: string | null;
  readonly fingerprint?: string;
}

export interface CouchdbAnswer {
  readonly status: number;
  readonly value: unknown;
}

export interface CouchdbClient {
  /** JSON both ways, numbers as they are written. Answers of 400 and above are for the caller to judge. */
  json(method: string, path: string, body?: unknown): Promise<CouchdbAnswer>;
  /** Bytes of an attachment. Rejects unless they come. */
  download(path: string): Promise<Readable>;
  /** Sends bytes, and reads the answer. */
  upload(path: string, type: string, bytes: Readable, length: number): Promise<CouchdbAnswer>;
  close(): void;
}

const TIMEOUT_SECONDS = 600;

export function couchdbClient({ url, user, password, fingerprint }: CouchdbTarget): CouchdbClient {
  const base = new URL(url);
  const below = base.pathname.replace(/\/$/, '');
  const transport = httpTransport({ url: base.origin, ...(fingerprint === undefined ? {} : { fingerprint }) });
  const login =
    user === null ? {} : { authorization: `Basic ${Buffer.from(`${user}:${password ?? ''}`).toString('base64')}` };
  const send = async (
    method: string,
    path: string,
    more: { headers?: Record<string, string>; body?: string | Readable },
  ) => {
    try {
      return await transport.send({
        method,
        path: below + path,
        timeoutSeconds: TIMEOUT_SECONDS,
        ...more,
        headers: { accept: 'application/json', ...login, ...more.headers },
      });
    } catch (error) {
      if (error instanceof ServerUnreachable) throw error;
      throw new PilotageError('connection-lost', `the connection to ${base.origin} broke: try again`, { cause: error });
    }
  };
  return {
    async json(method, path, body) {
      const given =
        body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
      return toAnswer(await send(method, path, given), base.origin);
    },
    async download(path) {
      const response = await send('GET', path, { headers: { accept: '*/*' } });
      if (response.status === 200) return response.body;
      const { value } = await toAnswer(response, base.origin);
      throw new PilotageError('transfer-failed', `${base.origin} did not give ${path}: ${describeCouchdbError(value)}`);
    },
    async upload(path, type, bytes, length) {
      const headers = { 'content-type': type, 'content-length': String(length) };
      return toAnswer(await send('PUT', path, { headers, body: bytes }), base.origin);
    },
    close: () => transport.close(),
  };
}

async function toAnswer(response: WireResponse, origin: string): Promise<CouchdbAnswer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response.body as AsyncIterable<Buffer>) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString('utf8');
  try {
    return { status: response.status, value: text === '' ? {} : parseExact(text) };
  } catch (error) {
    throw new PilotageError(
      'transfer-failed',
      `${origin} answered ${response.status} with something that is not JSON: is a CouchDB there?`,
      { cause: error },
    );
  }
}

/** CouchDB's own words for what went wrong. */
export function describeCouchdbError(value: unknown): string {
  const { error, reason } = (value ?? {}) as { error?: unknown; reason?: unknown };
  return [error, reason].filter((part) => typeof part === 'string').join(': ') || JSON.stringify(value).slice(0, 300);
}
