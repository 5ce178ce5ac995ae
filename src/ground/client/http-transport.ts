import http from 'node:http';
import https from 'node:https';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import { giveBackWhenSent } from '../content/give-back.ts';
import { ServerUnreachable, type Transport, type WireRequest, type WireResponse } from './transport.ts';

/** `fingerprint`: SHA-256 of a self-made certificate (hex, with or without colons); it takes the place of a known authority. */
export interface HttpTarget {
  readonly url: string;
  readonly fingerprint?: string;
}

/** HTTP over connections that are kept alive. */
export function httpTransport(target: HttpTarget): Transport {
  const base = new URL(target.url);
  const agent =
    base.protocol === 'https:'
      ? httpsAgent(target.fingerprint)
      : new http.Agent({ keepAlive: true, maxFreeSockets: 16 });
  return {
    send: (request) => sendOver(base, agent, request),
    close: () => agent.destroy(),
  };
}

function httpsAgent(fingerprint: string | undefined): https.Agent {
  if (fingerprint === undefined) return new https.Agent({ keepAlive: true });
  const agent = new https.Agent({ keepAlive: true });
  agent.createConnection = (options, callback) => {
    const socket = tls.connect({ ...(options as tls.ConnectionOptions), rejectUnauthorized: false });
    const done = callback as ((error: Error | null, stream: Duplex) => void) | undefined;
    socket.once('error', (error) => done?.(error, socket));
    socket.once('secureConnect', () => {
      const seen = socket.getPeerCertificate().fingerprint256 ?? '';
      if (plain(seen) === plain(fingerprint)) done?.(null, socket);
      else
        socket.destroy(
          new Error(
            `the server's certificate has the fingerprint ${seen}, not the pinned ${fingerprint}: somebody may be in between, or the server made a new certificate (see its server.json)`,
          ),
        );
    });
    return undefined;
  };
  return agent;
}

function plain(fingerprint: string): string {
  return fingerprint
    .replace(/^sha256:/i, '')
    .replaceAll(':', '')
    .toLowerCase();
}

function sendOver(base: URL, agent: http.Agent, request: WireRequest): Promise<WireResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<WireResponse>();
  const maker = base.protocol === 'https:' ? https : http;
  const url = new URL(request.path, base);
  const outgoing = maker.request(url, {
    method: request.method,
    agent,
    headers: { ...request.headers, ...lengthOf(request.body) },
    ...(request.signal ? { signal: request.signal } : {}),
  });
  const timer = setTimeout(
    () => outgoing.destroy(new Error(`no answer within ${request.timeoutSeconds} s`)),
    request.timeoutSeconds * 1000,
  );
  outgoing.on('response', (incoming) => {
    clearTimeout(timer);
    resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: incoming });
  });
  outgoing.on('error', (error) => {
    clearTimeout(timer);
    reject(request.signal?.aborted ? error : new ServerUnreachable(base.origin, error));
  });
  sendBody(outgoing, request);
  return promise;
}

function lengthOf(body: WireRequest['body']): Record<string, string> {
  return typeof body === 'string' || Buffer.isBuffer(body) ? { 'content-length': String(Buffer.byteLength(body)) } : {};
}

function sendBody(outgoing: http.ClientRequest, { body, bodyIsGivenAway }: WireRequest): void {
  if (body === undefined || typeof body === 'string' || Buffer.isBuffer(body)) {
    outgoing.end(body);
    return;
  }
  body.on('error', (error) => outgoing.destroy(error));
  if (bodyIsGivenAway) giveBackWhenSent(body, outgoing);
  body.pipe(outgoing);
}
