import type { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type net from 'node:net';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import { PilotageError } from '../../../ground/base/errors.ts';
import { type Identity, idOf, whatIsWrong } from '../identity.ts';

/** Who is at the other end, proven by its key, and the connection that only the two can read. */
export interface Handshake {
  readonly id: string;
  readonly socket: Duplex;
}

/** What the one who was dialled says before anything else. `not-now`: another server of its database keeps the links. */
export type Verdict = 'welcome' | 'unknown' | 'not-yet' | 'revoked' | 'not-now';

export const HANDSHAKE_MS = 10_000;
const FAREWELL_MS = 2000;
const MOST_WORDS = 64;

/**
 * TLS within whatever connection there is: both sides show the certificates that they are known by. Which other one is
 * let in is not TLS' business but that of who calls: no authority signs them.
 */
export async function shakeHands(raw: Duplex, role: 'dialler' | 'dialled', identity: Identity): Promise<Handshake> {
  const own = { cert: identity.certificate, key: identity.key, minVersion: 'TLSv1.3' as const };
  const isServer = role === 'dialled';
  const socket = isServer
    ? new tls.TLSSocket(raw as net.Socket, { ...own, isServer, requestCert: true, rejectUnauthorized: false })
    : tls.connect({ ...own, socket: raw, rejectUnauthorized: false, ALPNProtocols: [] });
  const timer = setTimeout(() => socket.destroy(new Error('the other side said nothing')), HANDSHAKE_MS);
  raw.once('close', () => socket.destroy());
  // Whoever uses it sees it close.
  socket.on('error', () => undefined);
  try {
    await Promise.race([once(socket, isServer ? 'secure' : 'secureConnect'), hungUp(socket)]);
    const certificate = socket.getPeerX509Certificate();
    if (!certificate)
      throw new PilotageError('forbidden', 'the other side showed no certificate: is it a Pilotage server?');
    refuseUnfit(certificate);
    return { id: idOf(certificate), socket };
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Somebody who goes without a word leaves no error behind. */
function hungUp(socket: Duplex): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  const over = (): void => reject(new Error('the other side hung up'));
  socket.once('close', over).once('end', over);
  promise.catch(() => undefined);
  return promise;
}

function refuseUnfit(certificate: X509Certificate): void {
  const problem = whatIsWrong(certificate, Date.now());
  if (problem) throw new PilotageError('forbidden', `the other side's certificate is refused: ${problem}`);
}

export function sendVerdict(socket: Duplex, verdict: Verdict): void {
  socket.write(`${verdict}\n`);
  if (verdict === 'welcome') return;
  socket.end();
  // Whoever does not go then is put out.
  const timer = setTimeout(() => socket.destroy(), FAREWELL_MS);
  socket.once('close', () => clearTimeout(timer)).resume();
}

/** The first line that the other side says. */
export async function readVerdict(socket: Duplex): Promise<Verdict> {
  const timer = setTimeout(() => socket.destroy(new Error('the other side said nothing')), HANDSHAKE_MS);
  try {
    let seen = Buffer.alloc(0);
    while (!seen.includes(10)) {
      if (seen.length > MOST_WORDS) throw new Error('the other side sent rubbish');
      const chunk = (socket.read() as Buffer | null) ?? (await nextChunk(socket));
      seen = Buffer.concat([seen, chunk]);
    }
    const end = seen.indexOf(10);
    if (end + 1 < seen.length) socket.unshift(seen.subarray(end + 1));
    return toVerdict(seen.subarray(0, end).toString('latin1'));
  } finally {
    clearTimeout(timer);
  }
}

async function nextChunk(socket: Duplex): Promise<Buffer> {
  for (;;) {
    if (socket.readableEnded || socket.destroyed) throw new Error('the other side hung up');
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const over = (): void => reject(new Error('the other side hung up'));
    socket.once('readable', resolve).once('end', over).once('close', over).once('error', reject);
    await promise.finally(() =>
      socket.off('readable', resolve).off('end', over).off('close', over).off('error', reject),
    );
    const chunk = socket.read() as Buffer | null;
    if (chunk) return chunk;
  }
}

function toVerdict(text: string): Verdict {
  const known: readonly string[] = ['welcome', 'unknown', 'not-yet', 'revoked', 'not-now'] satisfies Verdict[];
  if (known.includes(text)) return text as Verdict;
  throw new Error('the other side sent rubbish');
}
