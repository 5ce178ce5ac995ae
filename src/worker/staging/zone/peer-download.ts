import http from 'node:http';
import type { HolderFault, SourceReply } from '../../../ground/protocol/zone.ts';
import type { OwnArriving } from '../cache/arriving.ts';

export type Peer = NonNullable<SourceReply['peer']>;
export type Fault = HolderFault['what'];

/** How long a peer may take. */
export interface PeerPatience {
  readonly connectMs: number;
  /** No byte for so long, from one that has it all. */
  readonly stallMs: number;
  /** And from one that is fetching it itself. */
  readonly passingStallMs: number;
  /** One that has it all, and brings less than this in so long, is slow. */
  readonly slowBytes: number;
  readonly slowMs: number;
}

export const PATIENCE: PeerPatience = {
  connectMs: 4000,
  stallMs: 10_000,
  passingStallMs: 30_000,
  slowBytes: 256 * 1024 * 10,
  slowMs: 10_000,
};

/** An answer that is not the bytes wanted; `fault` says what that tells about the peer. */
class PeerTrouble extends Error {
  readonly fault: Fault;
  constructor(fault: Fault) {
    super(fault);
    this.fault = fault;
  }
}

/**
 * Goes on with a blob from a peer, from where it is. Resolves with what was wrong with the peer, undefined when the blob
 * is whole. Rejects for what is not the peer's fault: the signal, or the disk here.
 */
export async function downloadFromPeer(
  arriving: OwnArriving,
  peer: Peer,
  how: { size: number; patience: PeerPatience; signal: AbortSignal },
): Promise<Fault | undefined> {
  let fault: Fault | undefined;
  for (const address of peer.addresses) {
    try {
      const response = await ask(address, peer.ticket, arriving, how);
      return await receive(arriving, response, peer, how);
    } catch (error) {
      if (!(error instanceof PeerTrouble)) throw error;
      fault = error.fault;
      if (fault !== 'unreachable') return fault;
    }
  }
  return fault ?? 'unreachable';
}

function ask(
  address: string,
  ticket: string,
  arriving: OwnArriving,
  { size, patience, signal }: { size: number; patience: PeerPatience; signal: AbortSignal },
): Promise<http.IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
  const start = arriving.received;
  const request = http.get(`${address.replace(/\/$/, '')}/blobs/${arriving.digest}`, {
    agent: false,
    signal,
    headers: { authorization: `Ticket ${ticket}`, ...(start > 0 ? { range: `bytes=${start}-` } : {}) },
  });
  const unreachable = (): void => reject(signal.aborted ? signal.reason : new PeerTrouble('unreachable'));
  const connecting = setTimeout(() => request.destroy(), patience.connectMs);
  const answering = setTimeout(() => request.destroy(), patience.stallMs);
  request.on('socket', (socket) => socket.once('connect', () => clearTimeout(connecting)));
  request.on('error', unreachable);
  request.on('close', () => {
    clearTimeout(connecting);
    clearTimeout(answering);
    unreachable();
  });
  request.on('response', (response) => {
    clearTimeout(answering);
    const wrong = faultOf(response, start, size);
    if (wrong === undefined) {
      resolve(response);
      return;
    }
    response.destroy();
    reject(new PeerTrouble(wrong));
  });
  return promise;
}

/** A ticket that is refused says that the peer is not (or no longer) who the server takes it for. */
function faultOf(response: http.IncomingMessage, start: number, size: number): Fault | undefined {
  const { statusCode = 0, headers } = response;
  if (statusCode === 503) return 'slow';
  if (statusCode === 401 || statusCode === 403 || statusCode === 404) return 'gone';
  if (statusCode !== (start > 0 ? 206 : 200)) return 'wrong-bytes';
  return Number(headers['content-length']) === size - start ? undefined : 'wrong-bytes';
}

async function receive(
  arriving: OwnArriving,
  response: http.IncomingMessage,
  { complete }: Peer,
  { size, patience, signal }: { size: number; patience: PeerPatience; signal: AbortSignal },
): Promise<Fault | undefined> {
  let fault: Fault | undefined;
  const cut = (why: Fault): void => {
    fault = why;
    response.destroy();
  };
  const stallMs = complete ? patience.stallMs : patience.passingStallMs;
  // One that passes it on may itself be waiting for another that is dead.
  const stall = (): void => cut(complete ? 'unreachable' : 'gone');
  let stalled = setTimeout(stall, stallMs);
  let before = arriving.received;
  const speed = setInterval(() => {
    if (complete && arriving.received - before < patience.slowBytes) cut('slow');
    before = arriving.received;
  }, patience.slowMs);
  const stop = (): void => void response.destroy();
  signal.addEventListener('abort', stop, { once: true });
  const chunks = response[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await chunks.next().catch(() => ({ done: true as const, value: undefined }));
      if (next.done) break;
      clearTimeout(stalled);
      await arriving.append(next.value as Buffer);
      stalled = setTimeout(stall, stallMs);
    }
  } finally {
    clearTimeout(stalled);
    clearInterval(speed);
    signal.removeEventListener('abort', stop);
    response.destroy();
  }
  signal.throwIfAborted();
  if (arriving.received >= size) return undefined;
  // One that was only passing it on may be in order: what it had is gone, perhaps because it was not right.
  return fault ?? (complete ? 'unreachable' : 'gone');
}
