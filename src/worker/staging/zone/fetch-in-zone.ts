/**
 * Brings a blob from workers of the zone, as long as the server names some that are in order, else from the server:
 *
 *   ask whom ──▶ peer ──whole──▶ right? ──▶ done
 *      ▲          │                │ no: throw it away, and the whole from the server
 *      └──fault───┘                ▼
 *   (3 peers: the server)       server ──▶ done, and who lied is told
 *
 * It goes on where it broke off, whoever gave the beginning.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { HolderFault, SourceReply } from '../../../ground/protocol/zone.ts';
import type { OwnArriving } from '../cache/arriving.ts';
import { type BlobServer, downloadFromServer } from '../fetch-blob.ts';
import type { Holdings } from './holdings.ts';
import { downloadFromPeer, PATIENCE, type Peer, type PeerPatience } from './peer-download.ts';

/** Smaller ones come straight from the server: asking for a peer would take longer. */
export const SHARED_BYTES = 256 * 1024;
const MOST_PEERS = 3;

export interface Zone extends BlobServer {
  readonly holdings: Holdings;
  readonly patience?: PeerPatience;
}

/** Bytes that a peer gave and vouched for. */
interface Piece {
  readonly holder: string;
  readonly start: number;
  readonly end: number;
  readonly digest?: string;
}

/** What is known of one fetch so far. */
interface Trip {
  peers: number;
  faults: HolderFault[];
  pieces: Piece[];
  /** They gave parts of something that was wrong as a whole. */
  suspects: Piece[];
}

export async function fetchInZone(arriving: OwnArriving, zone: Zone, signal: AbortSignal): Promise<void> {
  let isShared = false;
  try {
    await bring(arriving, zone, signal);
    isShared = arriving.received >= SHARED_BYTES;
  } finally {
    // The server takes whoever asked for one that others may be sent to.
    if (!isShared) zone.holdings.tell({ removed: [arriving.digest] });
  }
}

async function bring(arriving: OwnArriving, zone: Zone, signal: AbortSignal): Promise<void> {
  const trip: Trip = { peers: 0, faults: [], pieces: [], suspects: [] };
  for (let anew = false; ; ) {
    signal.throwIfAborted();
    const source = await ask(arriving, zone, { trip, signal });
    const peer = source && source.size >= SHARED_BYTES && trip.peers < MOST_PEERS ? source.peer : undefined;
    if (source && peer && arriving.received < source.size) {
      await tryPeer(arriving, peer, { ...zone, size: source.size, trip, signal });
      if (arriving.received < source.size) continue;
    } else await downloadFromServer(arriving, zone, signal);
    if (arriving.isRight() || anew) break;
    await beginAnew(arriving, trip);
    anew = true;
  }
  if (arriving.isRight()) await tellLiars(arriving, zone, { trip, signal });
}

async function ask(
  arriving: OwnArriving,
  { holdings, project }: Zone,
  { trip, signal }: { trip: Trip; signal: AbortSignal },
): Promise<SourceReply | undefined> {
  const { digest } = arriving;
  const faults = trip.faults.length > 0 ? { faults: trip.faults } : {};
  const only = trip.peers >= MOST_PEERS ? { serverOnly: true } : {};
  const reply = await holdings.source({ project, digest, ...faults, ...only }, signal);
  if (!reply) return undefined;
  trip.faults = [];
  arriving.expect(reply.size);
  return reply;
}

async function tryPeer(
  arriving: OwnArriving,
  peer: Peer,
  how: Zone & { size: number; trip: Trip; signal: AbortSignal },
): Promise<void> {
  const { trip, size, signal, patience = PATIENCE } = how;
  const { holder, complete } = peer;
  const start = arriving.received;
  trip.peers += 1;
  const what = await downloadFromPeer(arriving, peer, { size, patience, signal });
  if (what) trip.faults.push({ holder, what });
  // Who passes on what comes vouches for it only at its end.
  const end = arriving.received;
  if (end > start && (complete || end >= size)) trip.pieces.push({ holder, start, end });
}

/** A single peer that gave all of it lied. Of several it shows later, when the right bytes are here. */
async function beginAnew(arriving: OwnArriving, trip: Trip): Promise<void> {
  const [only] = trip.pieces;
  if (only && only.start === 0 && only.end === arriving.received) blame(trip, only.holder);
  else trip.suspects = await Promise.all(trip.pieces.map((piece) => withDigest(arriving.file, piece)));
  trip.pieces = [];
  trip.peers = MOST_PEERS;
  await arriving.restart();
}

async function tellLiars(arriving: OwnArriving, zone: Zone, how: { trip: Trip; signal: AbortSignal }): Promise<void> {
  const { trip } = how;
  for (const piece of trip.suspects) {
    const right = await withDigest(arriving.file, piece);
    if (right.digest !== piece.digest) blame(trip, piece.holder);
  }
  if (trip.faults.length > 0) await ask(arriving, zone, how);
}

function blame(trip: Trip, holder: string): void {
  trip.faults = [...trip.faults.filter((fault) => fault.holder !== holder), { holder, what: 'wrong-bytes' }];
}

async function withDigest(file: string, piece: Piece): Promise<Piece> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { start: piece.start, end: piece.end - 1 }))
    hash.update(chunk as Buffer);
  return { ...piece, digest: hash.digest('hex') };
}
