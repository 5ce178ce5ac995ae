import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

/** What requests are on their way through the proxy just now, by what they are about. */
export interface InFlight {
  submit: number;
  claim: number;
  report: number;
}

export type Fault = 'none' | 'cut-request' | 'lose-reply' | 'repeat' | 'stall';

export interface FaultyProxy {
  readonly url: string;
  readonly inFlight: InFlight;
  readonly counts: Record<Exclude<Fault, 'none'>, number>;
  /** Where requests go from now on. */
  aim(port: number): void;
  close(): Promise<void>;
}

interface Request {
  readonly bytes: Buffer;
  readonly kind: keyof InFlight | 'other';
}

const STALL_MS = 3000;

/**
 * Between clients and a server: passes whole HTTP/1.1 requests on, and now and then cuts a request off, loses the
 * reply of one that was carried out, carries one out twice, or stalls. `choose` says which fault a request gets.
 */
export async function startFaultyProxy(choose: (kind: string) => Fault): Promise<FaultyProxy> {
  let port = 0;
  const inFlight: InFlight = { submit: 0, claim: 0, report: 0 };
  const counts = { 'cut-request': 0, 'lose-reply': 0, repeat: 0, stall: 0 };
  const sockets = new Set<Socket>();
  const server: Server = createServer((client) => {
    sockets.add(client);
    client.on('error', () => undefined);
    client.on('close', () => sockets.delete(client));
    void serve(client);
  });

  const serve = async (client: Socket) => {
    const read = requestReader(client);
    for (let request = await read(); request; request = await read()) {
      const fault = choose(request.kind);
      if (fault !== 'none') counts[fault] += 1;
      if (request.kind !== 'other') inFlight[request.kind] += 1;
      const passed = await pass(client, request, fault).catch(() => false);
      if (request.kind !== 'other') inFlight[request.kind] -= 1;
      if (!passed) return void client.destroy();
    }
    client.end();
  };

  const pass = async (client: Socket, request: Request, fault: Fault): Promise<boolean> => {
    if (fault === 'cut-request') {
      await send(port, request.bytes.subarray(0, Math.floor(request.bytes.length * 0.7)), client, 'half');
      return false;
    }
    if (fault === 'stall') await pause(STALL_MS);
    if (fault === 'repeat') await send(port, request.bytes, client, 'swallow');
    if (fault === 'lose-reply') {
      await send(port, request.bytes, client, 'swallow');
      return false;
    }
    return send(port, request.bytes, client, 'pass');
  };

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${address.port}`,
    inFlight,
    counts,
    aim: (to) => {
      port = to;
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Sends one request on a connection of its own. True when the whole reply went (where it was to go). */
function send(port: number, bytes: Buffer, client: Socket, mode: 'pass' | 'swallow' | 'half'): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const upstream = connect(port, '127.0.0.1');
  const reply = replyCounter();
  upstream.on('error', () => resolve(false));
  upstream.on('close', () => {
    client.off('close', clientGone);
    resolve(reply.complete);
  });
  const clientGone = () => upstream.destroy();
  client.once('close', clientGone);
  upstream.on('data', (chunk: Buffer) => {
    if (mode === 'pass') client.write(chunk);
    if (reply.add(chunk)) upstream.end();
  });
  upstream.write(bytes, () => {
    if (mode === 'half') upstream.destroy();
  });
  return promise;
}

/** Knows when a reply is complete, by its content-length or its last chunk. */
function replyCounter(): { complete: boolean; add(chunk: Buffer): boolean } {
  let seen = Buffer.alloc(0);
  let length: number | 'chunked' | undefined;
  let head = 0;
  return {
    complete: false,
    add(chunk) {
      seen = Buffer.concat([seen, chunk]);
      if (length === undefined) {
        const end = seen.indexOf('\r\n\r\n');
        if (end < 0) return false;
        head = end + 4;
        const text = seen.subarray(0, end).toString('latin1').toLowerCase();
        length = text.includes('transfer-encoding: chunked')
          ? 'chunked'
          : Number(/content-length: (\d+)/.exec(text)?.[1] ?? 0);
      }
      this.complete =
        length === 'chunked' ? seen.subarray(-5).toString() === '0\r\n\r\n' : seen.length - head >= length;
      return this.complete;
    },
  };
}

function requestReader(client: Socket): () => Promise<Request | undefined> {
  let buffer = Buffer.alloc(0);
  const iterator = client[Symbol.asyncIterator]();
  return async () => {
    for (;;) {
      const request = firstRequest(buffer);
      if (request) {
        buffer = buffer.subarray(request.bytes.length);
        return request;
      }
      const next = await iterator.next().catch(() => ({ done: true, value: undefined }));
      if (next.done) return undefined;
      buffer = Buffer.concat([buffer, next.value as Buffer]);
    }
  };
}

function firstRequest(buffer: Buffer): Request | undefined {
  const end = buffer.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const head = buffer.subarray(0, end).toString('latin1');
  const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
  if (/transfer-encoding: chunked/i.test(head)) {
    const last = buffer.indexOf('0\r\n\r\n', end);
    return last < 0 ? undefined : { bytes: buffer.subarray(0, last + 5), kind: 'other' };
  }
  if (buffer.length < end + 4 + length) return undefined;
  const bytes = buffer.subarray(0, end + 4 + length);
  return { bytes, kind: kindOf(head, bytes) };
}

function kindOf(head: string, bytes: Buffer): Request['kind'] {
  if (head.startsWith('POST /api/v1/submissions')) return 'submit';
  if (!head.includes('/exchange ')) return 'other';
  return bytes.includes('"reports":[{') ? 'report' : 'claim';
}
