import http2 from 'node:http2';
import { type Duplex, PassThrough, pipeline } from 'node:stream';
import {
  ServerUnreachable,
  type Transport,
  type WireRequest,
  type WireResponse,
} from '../../../ground/client/transport.ts';
import { createMux } from './mux.ts';

/** A connection to a neighbour over which both ask and answer. */
export interface Link {
  readonly peer: string;
  /** Who made it. */
  readonly isDialled: boolean;
  send: Transport['send'];
  /** Milliseconds there and back. */
  ping(): Promise<number>;
  /** For so long nothing was heard, in milliseconds; of a link that works never more than it takes to ask. */
  silentMs(): number;
  /** Resolves when it is gone, for whatever reason. */
  readonly closed: Promise<void>;
  close(): void;
}

export interface LinkOptions {
  readonly peer: string;
  readonly socket: Duplex;
  readonly isDialled: boolean;
  /** Answers what the other side asks. */
  readonly answer: (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse) => void;
  /** Told of each session on which the other side asks, to know whose requests they are. */
  readonly onSession: (session: http2.ServerHttp2Session) => void;
}

/** A link that says nothing is asked whether it is there so often, and given up if it does not answer within. */
export const PING_MS = 5000;
export const PATIENCE_MS = 10_000;
const WINDOW_BYTES = 4 * 1024 * 1024;
const SETTINGS = { initialWindowSize: WINDOW_BYTES, enablePush: false, maxConcurrentStreams: 1000 };

/** HTTP/2 in both directions. The stream on which this side asks is the first for who dialled, else the second. */
export function createLink(options: LinkOptions): Link {
  const { socket, peer, isDialled } = options;
  const { channels } = createMux(socket);
  const [asking, answering] = isDialled ? [channels[0], channels[1]] : [channels[1], channels[0]];
  const gone = Promise.withResolvers<void>();
  const server = answerOver(answering, options);
  const session = http2.connect('http://peer', { createConnection: () => asking, settings: SETTINGS });
  session.setLocalWindowSize(4 * WINDOW_BYTES);
  const close = (): void => {
    clearInterval(timer);
    session.destroy();
    socket.destroy();
    server.close();
    gone.resolve();
  };
  session.once('close', close);
  // Errors end the session; whoever waits for an answer is told by its own stream.
  session.on('error', () => undefined);
  socket.once('close', close);
  socket.on('error', () => undefined);
  let heardAt = performance.now();
  const ping = async (): Promise<number> => {
    const ms = await pingOver(session);
    heardAt = performance.now();
    return ms;
  };
  const silentMs = (): number => performance.now() - heardAt;
  const timer = setInterval(() => void ping().catch(close), PING_MS);
  return {
    peer,
    isDialled,
    ping,
    silentMs,
    close,
    closed: gone.promise,
    send: (request) => sendOver(session, peer, request),
  };
}

function answerOver(channel: Duplex, { answer, onSession }: LinkOptions): http2.Http2Server {
  const server = http2.createServer({ settings: SETTINGS }, answer);
  server.on('session', (session) => {
    session.setLocalWindowSize(4 * WINDOW_BYTES);
    onSession(session);
  });
  // A session that fails ends the link, which is made anew.
  server.on('sessionError', () => channel.destroy());
  server.emit('connection', channel);
  return server;
}

function pingOver(session: http2.ClientHttp2Session): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const timer = setTimeout(() => reject(new Error(`no sign of life for ${PATIENCE_MS / 1000} s`)), PATIENCE_MS);
  if (session.destroyed) reject(new Error('the link is gone'));
  else session.ping((error, ms) => (error ? reject(error) : resolve(ms)));
  return promise.finally(() => clearTimeout(timer));
}

function sendOver(session: http2.ClientHttp2Session, peer: string, request: WireRequest): Promise<WireResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<WireResponse>();
  const unreachable = (error: unknown): void =>
    reject(new ServerUnreachable(`the neighbour ${peer.slice(0, 12)}`, error));
  if (session.destroyed || session.closed || request.signal?.aborted) {
    unreachable(new Error(request.signal?.aborted ? 'nobody waits for the answer any more' : 'there is no link to it'));
    return promise;
  }
  const stream = session.request({
    ':method': request.method,
    ':path': request.path,
    ...request.headers,
    ...(typeof request.body === 'string' || Buffer.isBuffer(request.body)
      ? { 'content-length': Buffer.byteLength(request.body) }
      : {}),
  });
  const timer = setTimeout(
    () => stream.destroy(new Error(`no answer within ${request.timeoutSeconds} s`)),
    request.timeoutSeconds * 1000,
  );
  const abort = (): void => void stream.close(http2.constants.NGHTTP2_CANCEL);
  request.signal?.addEventListener('abort', abort, { once: true });
  stream.on('response', (headers) => {
    clearTimeout(timer);
    resolve({ status: headers[':status'] ?? 0, headers: headers as WireResponse['headers'], body: bodyOf(stream) });
  });
  stream.once('error', unreachable);
  stream.once('close', () => {
    clearTimeout(timer);
    request.signal?.removeEventListener('abort', abort);
    unreachable(new Error('the link was cut'));
  });
  sendBody(stream, request.body);
  return promise;
}

/** Of a stream that nobody has begun to read when it closes Node.js throws away what came: here it waits for its reader. */
function bodyOf(stream: http2.ClientHttp2Stream): Duplex {
  const body = new PassThrough();
  body.on('error', () => undefined);
  pipeline(stream, body, () => undefined);
  return body;
}

function sendBody(stream: http2.ClientHttp2Stream, body: WireRequest['body']): void {
  if (body === undefined || typeof body === 'string' || Buffer.isBuffer(body)) {
    stream.end(body);
    return;
  }
  body.on('error', (error) => stream.destroy(error));
  body.pipe(stream);
}
