import { readFile } from 'node:fs/promises';
import { hashBytes } from '../content/hash-file.ts';
import { inLanes } from '../content/in-lanes.ts';
import { formatPack, PACK_BLOBS, PACK_BYTES, type PackedBlob } from '../protocol/blob-pack.ts';
import { workerCalls } from '../protocol/worker-calls.ts';
import { type FileStore, STALL_SECONDS, signalOf } from './file-store.ts';
import { patiently } from './patience.ts';
import { changed, type Piece } from './send-piece.ts';

/** Packs on their way at a time: one is read while others travel and are written. */
const PACKS = 3;
/** Files that are read side by side. */
const READS = 16;

/** Brings many small pieces, hundreds with one request. */
export async function sendPacks(
  store: FileStore,
  pieces: readonly Piece[],
  onSent: (piece: Piece) => void,
): Promise<void> {
  await inLanes(packsOf(pieces), PACKS, async (pack) => {
    const raw = formatPack(await readAll(pack));
    const params = { project: store.project };
    const timeoutSeconds = STALL_SECONDS + raw.length / 100_000;
    await patiently(
      () => store.client.call(workerCalls.putBlobs, { params, raw, timeoutSeconds, ...signalOf(store) }),
      store,
    );
    for (const piece of pack) onSent(piece);
  });
}

function packsOf(pieces: readonly Piece[]): Piece[][] {
  const packs: Piece[][] = [];
  let room = 0;
  for (const piece of pieces) {
    const last = packs.at(-1);
    if (!last || last.length === PACK_BLOBS || room < piece.size) {
      packs.push([piece]);
      room = PACK_BYTES - piece.size;
    } else {
      last.push(piece);
      room -= piece.size;
    }
  }
  return packs;
}

async function readAll(pack: readonly Piece[]): Promise<PackedBlob[]> {
  const blobs: PackedBlob[] = new Array(pack.length);
  await inLanes([...pack.entries()], READS, async ([at, piece]) => {
    blobs[at] = { digest: piece.digest, bytes: await readPiece(piece) };
  });
  return blobs;
}

/** A file that changed since it was hashed is named here: in a pack nobody could tell which one it was. */
async function readPiece({ file, bytes, digest }: Piece): Promise<Buffer> {
  if (file === undefined) return bytes ?? Buffer.alloc(0);
  const read = await readFile(file);
  if (hashBytes(read).digest !== digest) throw changed(file, undefined);
  return read;
}
