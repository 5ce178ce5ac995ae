/** Serves this node's cache to workers of the same zone: `GET /blobs/<digest>` with a ticket, and nothing else. */
import { type FileHandle, open } from 'node:fs/promises';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { messageOf, PilotageError } from '../../../ground/base/errors.ts';
import type { Log } from '../../../ground/base/log.ts';
import type { Arriving } from '../cache/arriving.ts';
import type { NodeCache } from '../cache/node-cache.ts';
import type { TicketJudge, ZoneSession } from './tickets.ts';

/** All addresses of the machine unless a host is given; 0 is any free port. */
export interface ListenAt {
  readonly host?: string;
  readonly port: number;
}

export interface ShareServerOptions {
  readonly cache: NodeCache;
  readonly judge: TicketJudge;
  readonly log: Log;
  readonly listen: ListenAt;
  readonly session: () => ZoneSession | undefined;
}

export interface ShareServer {
  readonly port: number;
  close(): Promise<void>;
}

/** A blob as far as it is here. */
interface Source {
  readonly file: string;
  readonly size: number;
  /** Up to where it may be given out; rejects when it will not come. */
  ready(): number;
  /** Resolves when there may be more. */
  more(): Promise<void>;
}

interface OpenSource extends Source {
  readonly handle: FileHandle;
}

/** The end of a blob that is still coming is held back until it is verified: nobody ends up with a whole wrong one. */
export const WITHHELD_BYTES = 64 * 1024;
const CHUNK_BYTES = 256 * 1024;
const MOST_TRANSFERS = 32;
const MOST_CONNECTIONS = 256;
/** A reader that takes nothing for so long is cut off. */
const READER_STALL_MS = 60_000;

/** Rejects with what helps when it cannot listen there. */
export async function startShareServer(options: ShareServerOptions): Promise<ShareServer> {
  let transfers = 0;
  const server = http.createServer(
    { maxHeaderSize: 8192, headersTimeout: 10_000, requestTimeout: 10_000, keepAliveTimeout: 1000 },
    (request, response) =>
      void answer(request, response).catch((error) => {
        options.log.debug({ error: messageOf(error) }, 'a blob was not given out to its end');
        response.destroy();
      }),
  );
  server.maxConnections = MOST_CONNECTIONS;

  const answer = async (request: http.IncomingMessage, response: http.ServerResponse): Promise<void> => {
    request.resume();
    const digest = /^\/blobs\/([0-9a-f]{64})$/.exec(request.url ?? '')?.[1];
    if (digest === undefined || request.method !== 'GET') return refuse(response, 404, 'there is nothing here');
    const ticket = /^Ticket (\S+)$/.exec(request.headers.authorization ?? '')?.[1];
    const mine = options.session();
    if (ticket === undefined || !mine) return refuse(response, 401, 'a ticket is needed');
    const judged = await options.judge.judge(ticket, digest, mine);
    if (!judged.ok) return refuse(response, judged.status, judged.why);
    if (transfers >= MOST_TRANSFERS) return refuse(response, 503, 'this worker gives out as much as it can');
    transfers += 1;
    const use = `share:${transfers}:${performance.now()}`;
    try {
      await giveOut(digest, use, startOf(request), response);
    } finally {
      transfers -= 1;
      await options.cache.release(use);
    }
  };

  const giveOut = async (digest: string, use: string, start: number, response: http.ServerResponse): Promise<void> => {
    const arriving = options.cache.arriving(digest);
    const coming = arriving?.size === undefined ? undefined : await opened(comingSource(arriving));
    if (!coming) await options.cache.hold(use, [digest]);
    const source = coming ?? (await opened(await wholeSource(options.cache, digest)));
    if (!source) return refuse(response, 404, 'this worker does not have it');
    try {
      await send(response, { ...source, start: Math.min(start, source.size) });
    } finally {
      await source.handle.close();
    }
  };

  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(cannotListen(options.listen, error)));
    server.listen(options.listen, resolve);
  });
  server.on('error', (error) => options.log.warn({ error: messageOf(error) }, 'sharing of the cache stumbled'));
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function wholeSource(cache: NodeCache, digest: string): Promise<Source | undefined> {
  const found = await cache.find(digest);
  return found && { ...found, ready: () => found.size, more: () => Promise.resolve() };
}

/** With its file open: it keeps its bytes whatever becomes of its name. Undefined when it was gone already. */
async function opened(source: Source | undefined): Promise<OpenSource | undefined> {
  const handle = source && (await open(source.file).catch(() => undefined));
  return source && handle && { ...source, handle };
}

function comingSource(arriving: Arriving): Source {
  const { epoch, file, size = 0 } = arriving;
  return {
    file,
    size,
    more: () => arriving.changed(),
    ready: () => {
      if (arriving.epoch !== epoch || arriving.state === 'failed') throw new Error('it does not come here after all');
      return arriving.state === 'verified' ? size : Math.min(arriving.received, size - WITHHELD_BYTES);
    },
  };
}

async function send(response: http.ServerResponse, from: OpenSource & { start: number }): Promise<void> {
  const { handle, start, size } = from;
  response.writeHead(start > 0 ? 206 : 200, {
    'content-type': 'application/octet-stream',
    'content-length': size - start,
    ...(start > 0 ? { 'content-range': `bytes ${start}-${size - 1}/${size}` } : {}),
  });
  response.flushHeaders();
  const closed = new Promise<void>((resolve) => response.once('close', resolve));
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  for (let at = start; at < size; ) {
    const more = from.more();
    const ready = from.ready();
    if (response.destroyed) return;
    if (ready <= at) {
      await Promise.race([more, closed]);
      continue;
    }
    const { bytesRead } = await handle.read(buffer, 0, Math.min(CHUNK_BYTES, ready - at), at);
    if (bytesRead === 0) throw new Error('the file is shorter than it was');
    at += bytesRead;
    await written(response, Buffer.from(buffer.subarray(0, bytesRead)), closed);
  }
  response.end();
  await closed;
}

/** Resolves when the reader wants more. */
async function written(response: http.ServerResponse, chunk: Buffer, closed: Promise<void>): Promise<void> {
  if (response.write(chunk)) return;
  const drained = new Promise<void>((resolve) => response.once('drain', resolve));
  const stalled = setTimeout(() => response.destroy(), READER_STALL_MS);
  await Promise.race([drained, closed]);
  clearTimeout(stalled);
}

function startOf(request: http.IncomingMessage): number {
  return Number(/^bytes=(\d{1,15})-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
}

function refuse(response: http.ServerResponse, status: number, why: string): void {
  response.writeHead(status, { 'content-type': 'text/plain', connection: 'close' }).end(`${why}\n`);
}

function cannotListen({ host = 'port', port }: ListenAt, cause: Error): PilotageError {
  return new PilotageError(
    'bad-request',
    `cannot share the cache at ${host}:${port} (${cause.message}): give another --share-listen, or --no-share`,
    { cause },
  );
}
