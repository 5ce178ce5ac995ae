import { randomUUID } from 'node:crypto';
import { type BigIntStats, constants } from 'node:fs';
import { copyFile, link, mkdir, open, rename, rm, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Digest } from '../../ground/base/digest.ts';
import { systemCode } from '../../ground/base/errors.ts';
import { hashFile } from '../../ground/content/hash-file.ts';
import { inLanes } from '../../ground/content/in-lanes.ts';
import { notHere, toStorageError } from './blob-errors.ts';
import type { Blobs } from './blob-store.ts';
import { openIncoming } from './incoming.ts';
import { receiveInMemory, type WholeBlob } from './whole-blobs.ts';

const READ_BYTES = 512 * 1024;
/** Others may place and remove the same blob meanwhile. */
const TRIES = 10;

/** Each blob in a file of its own. Several servers may share the directory. */
export async function openDirectoryBlobs(directory: string): Promise<Blobs> {
  const incoming = await openIncoming(join(directory, 'incoming'));
  await makeDirectories(directory);
  const fileOf = (digest: Digest) => join(directory, digest.slice(0, 2), digest.slice(2));
  return {
    async receive(upload) {
      const { path, size } = await incoming.receive(upload);
      const place: Place = { digest: upload.digest, part: path, size, file: fileOf(upload.digest), placed: undefined };
      return { size, place: () => makeVisible(place), discard: () => removeFile(path) };
    },
    async receiveWhole(blobs) {
      const changed = new Set<string>();
      const placed = new Set<string>();
      const place = (blob: WholeBlob) =>
        writeWhole(blob, { root: directory, file: fileOf(blob.digest), changed, placed });
      const end = async (): Promise<void> => {
        await inLanes([...changed], SYNC_LANES, sync);
        changed.clear();
      };
      return receiveInMemory(blobs, place, end);
    },
    received: incoming.received,
    async get(digest, start = 0) {
      // Opened first: what is removed from now on is still read to its end.
      const file = await open(fileOf(digest), 'r').catch((error: unknown) => {
        throw systemCode(error) === 'ENOENT' ? notHere(digest) : toStorageError(error, directory);
      });
      const { size } = await file.stat();
      return { size, bytes: file.createReadStream({ start, highWaterMark: READ_BYTES }) };
    },
    async remove(digest) {
      await removeFile(fileOf(digest));
    },
    sweep: incoming.sweep,
  };
}

/** Directories that are made durable at a time. */
const SYNC_LANES = 16;

interface WholePlace {
  readonly root: string;
  readonly file: string;
  /** Directories that have a new name, to be made durable together. */
  readonly changed: Set<string>;
  /** Files that were made durable in their place. While they are there, there is nothing more to do. */
  readonly placed: Set<string>;
}

async function writeWhole({ digest, bytes }: WholeBlob, { root, file, changed, placed }: WholePlace): Promise<void> {
  const temporary = join(root, 'incoming', `${digest}.${randomUUID()}`);
  try {
    // What is there may have been put there by somebody who has not made it durable yet.
    const isThere = (await sizeOf(file)) === bytes.length;
    if (isThere && placed.has(file)) return;
    changed.add(dirname(file));
    placed.add(file);
    if (isThere && (await isSound(file, digest)) && (await syncIfThere(file))) return;
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw toStorageError(error, root);
  }
}

/** What is there may have been damaged: bringing it once more is how it is mended. */
async function isSound(file: string, digest: Digest): Promise<boolean> {
  return (await digestOf(file).catch(() => undefined)) === digest;
}

interface Place {
  readonly digest: Digest;
  readonly part: string;
  readonly size: number;
  readonly file: string;
  /** The file that was seen to be durable in its place. While it is there, there is nothing more to do. */
  placed: bigint | undefined;
}

async function makeVisible(place: Place): Promise<void> {
  const directory = dirname(place.file);
  try {
    if (place.placed !== undefined && (await inodeOf(place.file)) === place.placed) return;
    await linkWhole(place);
    await sync(directory);
    place.placed = await inodeOf(place.file);
  } catch (error) {
    throw toStorageError(error, directory);
  }
}

/** What is there already is made durable too: whoever put it there may still be about to. */
async function linkWhole(place: Place): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await link(place.part, place.file);
    } catch (error) {
      const code = systemCode(error);
      if (code === 'EPERM' || code === 'ENOTSUP') return copyWhole(place);
      if (code !== 'EEXIST' && !(code === 'ENOENT' && (await sizeOf(place.file)) === place.size)) throw error;
      if (tries === TRIES) throw error;
    }
    if (await isMadeDurable(place)) return;
  }
}

/** False when it was removed meanwhile. One that was damaged is replaced: bringing it once more is how it is mended. */
async function isMadeDurable(place: Place): Promise<boolean> {
  const size = await sizeOf(place.file);
  if (size === undefined) return false;
  try {
    if (size !== place.size || (await digestOf(place.file)) !== place.digest) {
      await copyWhole(place);
      return true;
    }
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
  return syncIfThere(place.file);
}

/** False when it was removed meanwhile. */
async function syncIfThere(file: string): Promise<boolean> {
  try {
    await sync(file);
    return true;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
}

/** Undefined for what cannot be read to its end. */
async function digestOf(file: string): Promise<Digest | undefined> {
  try {
    return (await hashFile(file)).digest;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') throw error;
    return undefined;
  }
}

/** For file systems without links, and in place of a file that was damaged. */
async function copyWhole({ part, file }: Place): Promise<void> {
  const copy = `${part}.${randomUUID().slice(0, 8)}`;
  try {
    await copyFile(part, copy, constants.COPYFILE_FICLONE);
    await sync(copy);
    await rename(copy, file);
  } finally {
    await rm(copy, { force: true });
  }
}

/** All directories are made at once: a name is on disk only when the directory that holds it is. */
async function makeDirectories(root: string): Promise<void> {
  const names = Array.from({ length: 256 }, (_, number) => number.toString(16).padStart(2, '0'));
  await Promise.all(names.map((name) => mkdir(join(root, name), { recursive: true, mode: 0o700 })));
  await sync(root);
}

async function sync(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Idempotent. */
async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}

async function inodeOf(path: string): Promise<bigint | undefined> {
  return (await statIfThere(path))?.ino;
}

async function sizeOf(path: string): Promise<number | undefined> {
  const size = (await statIfThere(path))?.size;
  return size === undefined ? undefined : Number(size);
}

async function statIfThere(path: string): Promise<BigIntStats | undefined> {
  try {
    return await stat(path, { bigint: true });
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
