/** The part of the server that moves bytes: real HTTP before a real blob store, without a database. */
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Digest } from '../../src/ground/base/digest.ts';
import { ERROR_CODES, PilotageError } from '../../src/ground/base/errors.ts';
import { giveBackWhenSent } from '../../src/ground/content/give-back.ts';
import { parsePack } from '../../src/ground/protocol/blob-pack.ts';
import type { Blobs } from '../../src/server/blobs/blobs.ts';

export interface BlobServer {
  readonly url: string;
  /** What clients sent: digests of uploads in the order of their begin, and how many questions. */
  readonly puts: { readonly digest: string; readonly offset: number }[];
  questions: number;
  /** Bytes that may be missing altogether. */
  quota: number;
  /** Asked before a request is answered. */
  before: (request: http.IncomingMessage) => Promise<void> | void;
  close(): Promise<void>;
}

export async function startBlobServer(blobs: Blobs): Promise<BlobServer> {
  const here = new Set<string>();
  const sockets = new Set<import('node:net').Socket>();
  const server = http.createServer((request, response) => {
    answer(request, response).catch((error: unknown) => refuse(response, error));
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });

  const state = { puts: [] as { digest: string; offset: number }[], questions: 0, quota: Number.MAX_SAFE_INTEGER };
  const self: BlobServer = Object.assign(state, {
    url: '',
    before: () => {},
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  });

  const answer = async (request: http.IncomingMessage, response: http.ServerResponse): Promise<void> => {
    await self.before(request);
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://here');
    if (pathname.endsWith('/blobs/missing')) return ask(request, response);
    if (request.method === 'POST') return putPack(request, response);
    const [, digest, , upload] = /\/blobs\/([0-9a-f]{64})(\/uploads\/(.*))?$/.exec(pathname) ?? [];
    if (digest === undefined) throw new PilotageError('not-found', pathname);
    if (upload !== undefined) return reply(response, 200, { received: await blobs.received(digest as Digest, upload) });
    if (request.method === 'GET') return get(request, response, digest as Digest);
    const offset = Number(searchParams.get('offset') ?? 0);
    self.puts.push({ digest, offset });
    const id = searchParams.get('upload') ?? `whole-${self.puts.length}`;
    const received = await blobs.receive({ digest: digest as Digest, id, offset, bytes: request });
    await received.place();
    await received.discard();
    here.add(digest);
    response.writeHead(204).end();
  };

  const putPack = async (request: http.IncomingMessage, response: http.ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const pack = parsePack(Buffer.concat(chunks)).map(({ digest, bytes }) => ({ digest: digest as Digest, bytes }));
    const received = await blobs.receiveWhole(pack);
    await received.place();
    for (const { digest } of pack) {
      self.puts.push({ digest, offset: 0 });
      here.add(digest);
    }
    response.writeHead(204).end();
  };

  const ask = async (request: http.IncomingMessage, response: http.ServerResponse): Promise<void> => {
    self.questions += 1;
    let text = '';
    for await (const piece of request) text += piece;
    const { digests, sizes, more } = JSON.parse(text) as { digests: string[]; sizes: number[]; more?: number };
    const missing = digests.filter((digest) => !here.has(digest));
    const bytes = digests.reduce((sum, digest, at) => sum + (here.has(digest) ? 0 : (sizes[at] ?? 0)), 0);
    if (bytes > self.quota) throw new PilotageError('over-quota', `${bytes} bytes are over the quota`);
    reply(response, 200, { missing, ...(more === undefined ? {} : { fits: bytes + more <= self.quota }) });
  };

  const get = async (request: http.IncomingMessage, response: http.ServerResponse, digest: Digest): Promise<void> => {
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const { size, bytes } = await blobs.get(digest, start);
    response.writeHead(start > 0 ? 206 : 200, { 'content-length': String(size - start) });
    giveBackWhenSent(bytes, response);
    bytes.pipe(response);
    response.on('close', () => bytes.destroy());
  };

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(self, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

function reply(response: http.ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

function refuse(response: http.ServerResponse, error: unknown): void {
  const code = error instanceof PilotageError ? error.code : 'internal';
  reply(response, ERROR_CODES[code], { code, detail: String((error as Error).message) });
}
