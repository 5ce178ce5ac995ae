import type { IncomingMessage } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { parseExact } from '../../ground/base/exact-json.ts';
import { badRequest, CouchError } from './couch-error.ts';
import type { Visitor } from './visitor.ts';

/** One request: where it goes, as the path's decoded parts, and with what. */
export interface CouchCall {
  readonly method: string;
  /** What stands before it in an address: '' on a port of its own. */
  readonly prefix: string;
  readonly path: readonly string[];
  readonly query: ReadonlyMap<string, string>;
  readonly visitor: Visitor;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** `/db/_design%2Fx/a%20b?limit=1` below a prefix. The parts are decoded one by one: a `%2F` does not part. */
export function parseAddress(url: string, prefix: string): { path: string[]; query: Map<string, string> } {
  const [address = '', ...rest] = url.slice(prefix.length).split('?');
  const parts = address.split('/').slice(1);
  if (parts.at(-1) === '') parts.pop();
  try {
    const query = new URLSearchParams(rest.join('?'));
    return { path: parts.map(decodeURIComponent), query: new Map(query) };
  } catch (error) {
    throw new CouchError(400, 'bad_request', `the address cannot be read (${(error as Error).message})`);
  }
}

/** Most that is read into memory as JSON. */
export const MAX_BODY_BYTES = 64 * 1024 * 1024;

const TOO_LARGE = `the request is larger than ${MAX_BODY_BYTES / 1024 / 1024} MiB: send fewer documents at once (10,000 are a good number), and large files as attachments of their own (PUT /db/doc/name)`;

/** The whole body as text. */
export async function readText(message: IncomingMessage): Promise<string> {
  return (await readBytes(message)).toString('utf8');
}

/** What was packed on the way would be stored as it is, and be given out as something else. */
export function requirePlain({ request }: CouchCall): void {
  const encoding = request.headers['content-encoding'];
  if (encoding === undefined || encoding.toLowerCase() === 'identity') return;
  throw new CouchError(
    415,
    'bad_content_type',
    `Content-Encoding '${encoding.slice(0, 100)}' is not offered: send the body as it is`,
  );
}

async function readBytes(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    size += chunk.length;
    // Read on, so that the client, which is still sending, comes to see the answer.
    if (size <= MAX_BODY_BYTES) chunks.push(chunk);
    else chunks.length = 0;
    if (size > 4 * MAX_BODY_BYTES) break;
  }
  if (size > MAX_BODY_BYTES) throw new CouchError(413, 'too_large', TOO_LARGE);
  return Buffer.concat(chunks);
}

/** JSON with its numbers as they were written. `absent`: what an empty body stands for. */
export async function readJson(call: CouchCall, absent?: unknown): Promise<unknown> {
  requirePlain(call);
  const { request } = call;
  const length = Number(request.headers['content-length'] ?? 0);
  const text = await readText(request.raw);
  if (text.trim() === '' && absent !== undefined) return absent;
  const type = request.headers['content-type'];
  // As CouchDB: what is posted says that it is JSON, so that no form of a foreign page can.
  if (call.method === 'POST' && !(type ?? '').toLowerCase().startsWith('application/json'))
    throw new CouchError(415, 'bad_content_type', 'Content-Type must be application/json');
  try {
    return parseExact(text);
  } catch (error) {
    const what = text.trim() === '' ? 'it is empty' : (error as Error).message;
    throw badRequest(`invalid UTF-8 JSON: ${what}${length > 0 ? '' : ' (no Content-Length)'}`);
  }
}

/** An object, or a 400 that says what was expected. */
export function asObject(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && !JSON.isRawJSON(value))
    return value as Record<string, unknown>;
  throw badRequest(`${what} must be a JSON object`);
}

export function jsonParameter(query: ReadonlyMap<string, string>, name: string): unknown {
  const text = query.get(name);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw new CouchError(400, 'bad_request', `invalid UTF-8 JSON in ${name}: ${text.slice(0, 200)}`);
  }
}

export function flag(query: ReadonlyMap<string, string>, name: string): boolean | undefined {
  const text = query.get(name);
  if (text === undefined) return undefined;
  if (text === 'true' || text === 'false') return text === 'true';
  throw new CouchError(400, 'query_parse_error', `Invalid boolean parameter: ${JSON.stringify(text)} for ${name}`);
}

export function wholeNumber(query: ReadonlyMap<string, string>, name: string): number | undefined {
  const text = query.get(name);
  if (text === undefined) return undefined;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new CouchError(
    400,
    'query_parse_error',
    `Invalid value for ${name}: ${JSON.stringify(text.slice(0, 100))}, it must be a whole number of at least 0`,
  );
}

/** JSON with a length, never compressed, as old clients need it. */
export function sendJson(call: CouchCall, status: number, value: unknown, headers: Record<string, string> = {}) {
  return sendText(call, status, `${JSON.stringify(value)}\n`, headers);
}

export function sendText(call: CouchCall, status: number, text: string, headers: Record<string, string> = {}) {
  const { reply } = call;
  reply.code(status).headers({
    'content-type': 'application/json',
    'cache-control': 'must-revalidate',
    server: 'Pilotage (CouchDB face)',
    ...headers,
  });
  return reply.send(Buffer.from(text));
}

/** 304 without a body if the client has this version already. */
export function isKnown(call: CouchCall, etag: string): boolean {
  const known = call.request.headers['if-none-match'] ?? '';
  return known.split(',').some((one) => one.trim() === etag || one.trim() === '*');
}
