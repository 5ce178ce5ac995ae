import type { Stats } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import type { Digest } from '../base/digest.ts';
import { hashBytes, hashFile } from '../content/hash-file.ts';
import { inLanes } from '../content/in-lanes.ts';
import { directoryPermissions, filePermissions } from '../content/permissions.ts';
import {
  checkKeepable,
  fileEntry,
  HASH_LANES,
  type HashOf,
  type Listed,
  listDirectory,
  toEntry,
} from '../content/scan-directory.ts';
import { formatTree, type TreeEntry, treeSize } from '../content/tree.ts';
import { PACKED_BYTES } from '../protocol/blob-pack.ts';
import { workerCalls } from '../protocol/worker-calls.ts';
import { type FileStore, signalOf } from './file-store.ts';
import { patiently } from './patience.ts';
import { sendPacks } from './send-packs.ts';
import { type Piece, sendPiece } from './send-piece.ts';
import { transferAll } from './transfer-all.ts';

export interface UploadedFile {
  readonly digest: Digest;
  readonly kind: 'file' | 'tree';
  readonly size: number;
  readonly executable?: boolean;
  readonly permissions?: string;
}

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
 * Uploads many files and directories: hashes them, asks with one question what the project lacks, and sends that. The
 * answers are in the order of `files`. Rejects with `over-quota` before a byte is sent, with `digest-mismatch` for a
 * file that changes while it travels, with `wrong-state` for one that changes while it is read.
 */
export async function uploadPaths(
  store: FileStore,
  files: readonly string[],
  options: UploadOptions = {},
): Promise<UploadedFile[]> {
  const sources = await hashAll(files, options.hash ?? hashFile);
  const isTree = (piece: Piece): boolean => piece.bytes !== undefined;
  const missing = await missingOf(
    store,
    sources.flatMap(({ pieces }) => pieces),
  );
  const meter = createMeter(missing, options.onProgress);
  const send = async (pieces: readonly Piece[]): Promise<void> => {
    const isSmall = ({ size }: Piece): boolean => size <= PACKED_BYTES;
    await sendPacks(store, pieces.filter(isSmall), (piece) => meter(piece, piece.size));
    await transferAll(
      pieces.filter((piece) => !isSmall(piece)),
      (piece) => sendPiece(store, piece, (sent) => meter(piece, sent)),
    );
  };
  await send(missing.filter((piece) => !isTree(piece)));
  await send(missing.filter(isTree));
  return sources.map(({ uploaded }) => uploaded);
}

/** What is at one path, and all that has to be at the server for it. */
interface Source {
  readonly uploaded: UploadedFile;
  readonly pieces: readonly Piece[];
}

/** All files of all directories in the same few lanes. */
async function hashAll(files: readonly string[], hash: HashOf): Promise<Source[]> {
  const found = await Promise.all(files.map(find));
  const entries: TreeEntry[][] = found.map(() => []);
  const jobs = found.flatMap(({ root, listed }, at) => listed.map((one) => ({ root, one, at })));
  await inLanes(jobs, HASH_LANES, async ({ root, one, at }) => {
    entries[at]?.push(await toEntry(root, one, hash));
  });
  return found.map(({ root, stats }, at) => toSource(root, stats, entries[at] ?? []));
}

/** A file is the only entry of the directory that it is in. */
async function find(file: string): Promise<{ root: string; stats: Stats; listed: readonly Listed[] }> {
  const stats = await stat(file);
  if (stats.isDirectory()) return { root: file, stats, listed: await listDirectory(file) };
  checkKeepable(file, stats);
  return { root: path.dirname(file), stats, listed: [fileEntry(path.basename(file), stats)] };
}

function toSource(root: string, stats: Stats, entries: readonly TreeEntry[]): Source {
  const pieces = entries.flatMap((entry): Piece[] =>
    'digest' in entry ? [{ digest: entry.digest, size: entry.size, file: path.join(root, entry.path) }] : [],
  );
  if (stats.isDirectory()) {
    const bytes = Buffer.from(formatTree(entries));
    const list: Piece = { ...hashBytes(bytes), bytes };
    return {
      uploaded: {
        digest: list.digest,
        kind: 'tree',
        size: treeSize({ entries }),
        ...directoryPermissions(stats.mode),
      },
      pieces: [...pieces, list],
    };
  }
  const [{ digest, size }] = pieces as [Piece];
  return { uploaded: { digest, kind: 'file', size, ...filePermissions(stats.mode) }, pieces };
}

/** Of each digest one piece. All is asked before anything is sent, so that a full quota is told at once. */
async function missingOf(store: FileStore, pieces: readonly Piece[]): Promise<Piece[]> {
  const distinct = [...new Map(pieces.map((piece) => [piece.digest, piece])).values()];
  const missing: Piece[] = [];
  for (let at = 0; at < distinct.length; at += ASK) {
    const asked = distinct.slice(at, at + ASK);
    const lacks = new Set<string>(await ask(store, asked));
    missing.push(...asked.filter(({ digest }) => lacks.has(digest)));
  }
  return missing;
}

async function ask(store: FileStore, pieces: readonly Piece[]): Promise<readonly string[]> {
  const body = { digests: pieces.map(({ digest }) => digest), sizes: pieces.map(({ size }) => size) };
  const params = { project: store.project };
  const question = () => store.client.call(workerCalls.missingBlobs, { params, body, ...signalOf(store) });
  return (await patiently(question, store)).missing;
}

function createMeter(missing: readonly Piece[], onProgress: UploadOptions['onProgress']) {
  const total = missing.reduce((sum, { size }) => sum + size, 0);
  const sentOf = new Map<Digest, number>();
  let all = 0;
  if (missing.length > 0) onProgress?.(0, total);
  return ({ digest }: Piece, sent: number): void => {
    all += sent - (sentOf.get(digest) ?? 0);
    sentOf.set(digest, sent);
    onProgress?.(all, total);
  };
}
