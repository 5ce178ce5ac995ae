import type { Digest } from '../base/digest.ts';
import { hashFile } from '../content/hash-file.ts';
import type { HashOf } from '../content/scan-directory.ts';
import { PACKED_BYTES } from '../protocol/blob-pack.ts';
import { workerCalls } from '../protocol/worker-calls.ts';
import { type FileStore, signalOf } from './file-store.ts';
import { patiently } from './patience.ts';
import { sendPacks } from './send-packs.ts';
import { type Piece, sendPiece } from './send-piece.ts';
import { transferAll } from './transfer-all.ts';
import { findSources, type Sources, type UploadedFile } from './upload-sources.ts';

export type { UploadedFile } from './upload-sources.ts';

export interface UploadOptions {
  /** Reads files, or knows their digests from before (`openHashCache`). */
  readonly hash?: HashOf;
  /** Told how many of the bytes that have to travel have been sent. Of what is sent again it goes back. */
  readonly onProgress?: (sent: number, total: number) => void;
}

/** Digests asked about in one request, as the protocol allows. */
const ASK = 10_000;

/** Uploads a file or a directory, whichever is there. Links at the top are followed. */
export async function uploadPath(store: FileStore, file: string, options?: UploadOptions): Promise<UploadedFile> {
  const [uploaded] = await uploadPaths(store, [file], options);
  return uploaded as UploadedFile;
}

/** Resolves when the server has the file's bytes on disk, verified against their digest. */
export const uploadFile = uploadPath;
/** Uploads a directory: its files, then the list of them. `size` is that of the files together. */
export const uploadTree = uploadPath;

/**
 * Uploads many files and directories: hashes them, asks what the project lacks, and sends that; small files are sent
 * while large ones are still hashed. The answers are in the order of `files`. Rejects with `over-quota` before a byte is
 * sent, with `digest-mismatch` for a file that changes while it travels, with `wrong-state` for one that changes while it
 * is read.
 */
export async function uploadPaths(
  store: FileStore,
  files: readonly string[],
  options: UploadOptions = {},
): Promise<UploadedFile[]> {
  const sources = await findSources(files, options.hash ?? hashFile);
  const meter = createMeter(options.onProgress);
  const early = await sendEarly(store, sources, meter);
  const [all] = await Promise.all([sources.all(), early.sent]);
  const pieces = all.flatMap((source) => source.pieces).filter(({ digest }) => !early.digests.has(digest));
  const { missing } = await askFor(store, pieces);
  meter.expect(missing);
  await send(
    store,
    missing.filter((piece) => !isList(piece)),
    meter,
  );
  await send(store, missing.filter(isList), meter);
  return all.map(({ uploaded }) => uploaded);
}

/** Begins to send small files, unless what comes after them might not fit: then nothing may be sent. */
async function sendEarly(store: FileStore, sources: Sources, meter: Meter) {
  const nothing = { digests: new Set<string>(), sent: undefined };
  if (sources.largeBytes === 0) return nothing;
  const small = await sources.small();
  if (small.length === 0) return nothing;
  const { missing, fits } = await askFor(store, small, sources.largeBytes);
  if (!fits) return nothing;
  meter.expect(missing);
  return { digests: new Set<string>(small.map(({ digest }) => digest)), sent: send(store, missing, meter) };
}

async function send(store: FileStore, pieces: readonly Piece[], meter: Meter): Promise<void> {
  const isSmall = ({ size }: Piece): boolean => size <= PACKED_BYTES;
  await sendPacks(store, pieces.filter(isSmall), (piece) => meter.sent(piece, piece.size));
  await transferAll(
    pieces.filter((piece) => !isSmall(piece)),
    (piece) => sendPiece(store, piece, (sent) => meter.sent(piece, sent)),
  );
}

/** The list of a directory's files. */
function isList(piece: Piece): boolean {
  return piece.bytes !== undefined;
}

/** Of each digest one piece. All is asked before anything is sent, so that a full quota is told at once. */
async function askFor(store: FileStore, pieces: readonly Piece[], more?: number) {
  const distinct = [...new Map(pieces.map((piece) => [piece.digest, piece])).values()];
  const missing: Piece[] = [];
  let fits = more !== undefined && distinct.length <= ASK;
  for (let at = 0; at < distinct.length; at += ASK) {
    const asked = distinct.slice(at, at + ASK);
    const answer = await ask(store, asked, fits ? more : undefined);
    const lacks = new Set<string>(answer.missing);
    missing.push(...asked.filter(({ digest }) => lacks.has(digest)));
    fits &&= answer.fits === true;
  }
  return { missing, fits };
}

function ask(store: FileStore, pieces: readonly Piece[], more: number | undefined) {
  const body = {
    digests: pieces.map(({ digest }) => digest),
    sizes: pieces.map(({ size }) => size),
    ...(more === undefined ? {} : { more }),
  };
  const params = { project: store.project };
  return patiently(() => store.client.call(workerCalls.missingBlobs, { params, body, ...signalOf(store) }), store);
}

interface Meter {
  /** These are going to be sent. */
  expect(pieces: readonly Piece[]): void;
  sent(piece: Piece, bytes: number): void;
}

function createMeter(onProgress: UploadOptions['onProgress']): Meter {
  const sentOf = new Map<Digest, number>();
  let [all, total] = [0, 0];
  return {
    expect(pieces) {
      total += pieces.reduce((sum, { size }) => sum + size, 0);
      if (pieces.length > 0) onProgress?.(all, total);
    },
    sent({ digest }, bytes) {
      all += bytes - (sentOf.get(digest) ?? 0);
      sentOf.set(digest, bytes);
      onProgress?.(all, total);
    },
  };
}
