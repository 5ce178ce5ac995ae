import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { chmod, lstat, mkdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import path from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Digest } from '../base/digest.ts';
import { PilotageError } from '../base/errors.ts';
import { type Hashed, hashBytes, hashFile } from '../content/hash-file.ts';
import { isExecutable, scanDirectory } from '../content/scan-directory.ts';
import { formatTree, parseTree, type TreeEntry, treeSize } from '../content/tree.ts';
import { workerCalls } from '../protocol/worker-calls.ts';
import type { Client } from './client.ts';
import { ServerUnreachable } from './transport.ts';

/** Up to so many transfers run side by side, whatever the number of files. */
const PARALLEL = 4;
/** Digests asked about in one request, as the protocol allows. */
const ASK = 10_000;
/** A transfer that moves no byte for so long has failed. */
const STALL_SECONDS = 60;
/** A tree larger than this is not a list of files but a mistake. */
const MAX_TREE_BYTES = 256 * 1024 * 1024;

/** The blobs of one project, and whom to ask for them. */
export interface FileStore {
  readonly client: Client;
  readonly project: string;
  readonly signal?: AbortSignal;
}

export interface UploadedFile {
  readonly digest: Digest;
  readonly kind: 'file' | 'tree';
  readonly size: number;
  readonly executable?: boolean;
}

/** Something that can be uploaded: a file on disk, or bytes that were made here. */
interface Piece {
  readonly digest: Digest;
  readonly size: number;
  readonly file?: string;
  readonly bytes?: Buffer;
}

/** Uploads a file or a directory, whichever is there. Links at the top are followed. */
export async function uploadPath(store: FileStore, file: string): Promise<UploadedFile> {
  const stats = await lstat(file);
  return stats.isDirectory() ? uploadTree(store, file) : uploadFile(store, file);
}

/** Resolves when the server has the file's bytes on disk, verified against their digest. */
export async function uploadFile(store: FileStore, file: string): Promise<UploadedFile> {
  const [stats, hashed] = await Promise.all([lstat(file), hashFile(file)]);
  await uploadPieces(store, [{ ...hashed, file }]);
  return { ...hashed, kind: 'file', ...(isExecutable(stats) ? { executable: true } : {}) };
}

/** Uploads a directory: its files, then the list of them. `size` is that of the files together. */
export async function uploadTree(store: FileStore, directory: string): Promise<UploadedFile> {
  const entries = await scanDirectory(directory);
  const files = entries.flatMap((entry) =>
    'digest' in entry ? [{ digest: entry.digest, size: entry.size, file: path.join(directory, entry.path) }] : [],
  );
  const bytes = Buffer.from(formatTree(entries));
  await uploadPieces(store, files);
  await uploadPieces(store, [{ ...hashBytes(bytes), bytes }]);
  return { digest: hashBytes(bytes).digest, kind: 'tree', size: treeSize({ entries }) };
}

/** Sends what the project lacks. What it has already costs one line of a question. */
async function uploadPieces(store: FileStore, pieces: readonly Piece[]): Promise<void> {
  const distinct = [...new Map(pieces.map((piece) => [piece.digest, piece])).values()];
  for (let at = 0; at < distinct.length; at += ASK) {
    const asked = distinct.slice(at, at + ASK);
    const missing = new Set(await missingOf(store, asked));
    await inParallel(
      asked.filter((piece) => missing.has(piece.digest)),
      (piece) => putPiece(store, piece),
    );
  }
}

async function missingOf(store: FileStore, pieces: readonly Piece[]): Promise<readonly string[]> {
  const reply = await store.client.call(workerCalls.missingBlobs, {
    params: { project: store.project },
    body: { digests: pieces.map((piece) => piece.digest) },
    ...signalOf(store),
  });
  return reply.missing;
}

async function putPiece(store: FileStore, piece: Piece): Promise<void> {
  const source =
    piece.file === undefined
      ? Readable.from([piece.bytes ?? Buffer.alloc(0)], { objectMode: false })
      : createReadStream(piece.file, { highWaterMark: 1 << 18 });
  try {
    await store.client.call(workerCalls.putBlob, {
      params: { project: store.project, digest: piece.digest },
      raw: source,
      headers: { 'content-length': String(piece.size) },
      timeoutSeconds: STALL_SECONDS + piece.size / 100_000,
      ...signalOf(store),
    });
  } catch (error) {
    throw explainMismatch(error, piece);
  } finally {
    source.destroy();
  }
}

function explainMismatch(error: unknown, piece: Piece): unknown {
  if (!(error instanceof PilotageError) || error.code !== 'digest-mismatch' || piece.file === undefined) return error;
  return new PilotageError(
    'digest-mismatch',
    `'${piece.file}' changed while it was uploaded: try again when nothing writes to it`,
    { cause: error },
  );
}

/**
 * Downloads a blob to `destination`, which appears whole or not at all. Rejects with `digest-mismatch` when other
 * bytes came than were asked for.
 */
export async function downloadFile(
  store: FileStore,
  wanted: { digest: string; executable?: boolean },
  destination: string,
): Promise<Hashed> {
  const temporary = `${destination}.${randomUUID().slice(0, 8)}.part`;
  try {
    const hashed = await receive(store, wanted.digest, temporary);
    if (hashed.digest !== wanted.digest) throw mismatch(wanted.digest, hashed);
    if (wanted.executable) await chmod(temporary, 0o755);
    await rename(temporary, destination);
    return hashed;
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function receive(store: FileStore, digest: string, file: string): Promise<Hashed> {
  const body = await store.client.stream(workerCalls.getBlob, {
    params: { project: store.project, digest },
    ...signalOf(store),
  });
  const hash = createHash('sha256');
  let size = 0;
  let stalled = stallTimer(body);
  const meter = new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      clearTimeout(stalled);
      stalled = stallTimer(body);
      hash.update(chunk);
      size += chunk.length;
      done(null, chunk);
    },
  });
  try {
    await pipeline(body, meter, createWriteStream(file, { flags: 'wx' }), { ...signalOf(store) });
  } catch (error) {
    throw body.errored === null || body.errored === undefined ? error : new ServerUnreachable('the server', error);
  } finally {
    clearTimeout(stalled);
  }
  return { digest: hash.digest('hex') as Digest, size };
}

function stallTimer(body: Readable): NodeJS.Timeout {
  return setTimeout(() => body.destroy(new Error(`no byte came for ${STALL_SECONDS} s`)), STALL_SECONDS * 1000);
}

/** How a file gets from its digest to a place: `downloadFile`, or a cache in front of it. */
export type PlaceFile = (wanted: { digest: string; executable?: boolean }, destination: string) => Promise<void>;

/** Downloads a directory into `destination`, which may exist: what it holds is kept unless the tree has it too. */
export async function downloadTree(store: FileStore, digest: string, destination: string): Promise<void> {
  const list = path.join(path.dirname(destination), `.tree-${randomUUID().slice(0, 8)}`);
  await mkdir(path.dirname(destination), { recursive: true });
  try {
    await downloadFile(store, { digest }, list);
    const { entries } = await readTree(list);
    await placeTree(entries, destination, async (wanted, file) => void (await downloadFile(store, wanted, file)));
  } finally {
    await rm(list, { force: true });
  }
}

export async function readTree(file: string): Promise<{ entries: readonly TreeEntry[] }> {
  if ((await lstat(file)).size > MAX_TREE_BYTES) {
    throw new PilotageError(
      'bad-request',
      'this blob cannot be used as a directory: it is too large for a list of files',
    );
  }
  return parseTree(await readFile(file, 'utf8'));
}

/** Makes a tree's directories, files and links, links last: nothing is written through one. */
export async function placeTree(entries: readonly TreeEntry[], destination: string, place: PlaceFile): Promise<void> {
  await mkdir(destination, { recursive: true });
  const directories = new Set(
    entries.map((entry) => (entry.mode === 'directory' ? entry.path : path.dirname(entry.path))),
  );
  for (const directory of directories) await mkdir(path.join(destination, directory), { recursive: true });
  await inParallel(entries, async (entry) => {
    if (!('digest' in entry)) return;
    const { digest, mode } = entry;
    await place({ digest, executable: mode === 'executable' }, path.join(destination, entry.path));
  });
  for (const entry of entries)
    if (entry.mode === 'symlink') await replaceLink(entry.target, path.join(destination, entry.path));
}

async function replaceLink(target: string, at: string): Promise<void> {
  await rm(at, { force: true });
  await symlink(target, at);
}

async function inParallel<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < items.length) await act(items[next++] as T);
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, items.length) }, lane));
}

function signalOf(store: FileStore): { signal?: AbortSignal } {
  return store.signal ? { signal: store.signal } : {};
}

function mismatch(digest: string, got: Hashed): PilotageError {
  return new PilotageError(
    'digest-mismatch',
    `the server sent ${got.size} bytes with the digest ${got.digest} in place of ${digest}: its store may be damaged`,
  );
}
