import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import type { Duplex } from 'node:stream';
import { API } from '../../../ground/protocol/route.ts';

export const LINK_PATH = `${API}/link`;
export const LINK_PROTOCOL = 'pilotage-peer';

const DIAL_MS = 10_000;

export interface DialPlace {
  readonly host: string;
  readonly port: number;
}

/**
 * A connection to the port where a server listens for everybody, turned into one for peers. The port speaks TLS or not:
 * it is tried with TLS first. Who it is shows itself in the handshake within, so the outer certificate does not matter.
 */
export async function dial(place: DialPlace, signal: AbortSignal): Promise<Duplex> {
  try {
    return await upgrade(place, https, signal);
  } catch (error) {
    if (!speaksPlainHttp(error)) throw error;
    return upgrade(place, http, signal);
  }
}

/** A request of a stranger: whoever answers is known by what it answers. Rejects with why nobody did. */
export async function post(place: DialPlace, path: string, body: string): Promise<{ status: number; text: string }> {
  try {
    return await postVia(place, https, path, body);
  } catch (error) {
    if (!speaksPlainHttp(error)) throw error;
    return postVia(place, http, path, body);
  }
}

function postVia(place: DialPlace, via: typeof http | typeof https, path: string, body: string) {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
  const request = via.request({
    ...place,
    path,
    method: 'POST',
    headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
    rejectUnauthorized: false,
    agent: false,
  });
  const timer = setTimeout(() => request.destroy(new Error(`no answer within ${DIAL_MS / 1000} s`)), DIAL_MS);
  request.on('response', (response) => {
    void readAnswer(response).then((text) => resolve({ status: response.statusCode ?? 0, text }), reject);
  });
  request.on('error', reject);
  request.end(body);
  return promise.finally(() => clearTimeout(timer));
}

const MOST_BYTES = 64 * 1024;

async function readAnswer(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response) {
    size += (chunk as Buffer).length;
    if (size > MOST_BYTES) throw new Error('it sent more than a Pilotage server would');
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** What OpenSSL says of a port that does not speak TLS. */
export function speaksPlainHttp(error: unknown): boolean {
  if (typeof error !== 'object' || error === null || !('code' in error)) return false;
  const code = String(error.code);
  return code === 'EPROTO' || code === 'ECONNRESET' || code.startsWith('ERR_SSL_') || code === 'HPE_INVALID_CONSTANT';
}

function upgrade(place: DialPlace, via: typeof http | typeof https, signal: AbortSignal): Promise<Duplex> {
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
  const request = via.request({
    host: place.host,
    port: place.port,
    path: LINK_PATH,
    headers: { connection: 'Upgrade', upgrade: LINK_PROTOCOL },
    rejectUnauthorized: false,
    agent: false,
    signal,
  });
  const timer = setTimeout(() => request.destroy(new Error(`no answer within ${DIAL_MS / 1000} s`)), DIAL_MS);
  request.on('upgrade', (_response, socket, head) => {
    if (head.length > 0) socket.unshift(head);
    socket.setNoDelay(true);
    resolve(socket);
  });
  request.on('response', (response) => {
    response.resume();
    reject(new Error(`it answered ${response.statusCode}: is it a Pilotage server, and as new as this one?`));
  });
  request.on('error', reject);
  request.end();
  return promise.finally(() => clearTimeout(timer));
}
