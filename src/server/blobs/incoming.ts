import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { Digest } from '../../ground/base/digest.ts';
import { PilotageError, systemCode } from '../../ground/base/errors.ts';
import { hashFile } from '../../ground/content/hash-file.ts';
import { saveStream } from '../../ground/content/save-stream.ts';
import { mismatch, toUploadError } from './blob-errors.ts';
import type { Upload } from './blob-store.ts';

/**
 * Uploads on their way, a file for each. Bytes are written to the places that they have in the whole, so that a
 * connection that is dead without anybody knowing it and its successor write the same bytes to the same places.
 */
export interface Incoming {
  /** As `Blobs.receive`; the file is on disk, its name need not be. */
  receive(upload: Upload): Promise<{ readonly path: string; readonly size: number }>;
  received(digest: Digest, id: string): Promise<number>;
  sweep(olderThanMs: number): Promise<number>;
}

/** Large files go to the disk while they arrive, so that the last fsync has little left to do. More often costs more processor time than it saves. */
const SYNC_BYTES = 512 * 1024 * 1024;

interface Active {
  readonly bytes: Readable;
  readonly over: Promise<unknown>;
}

export async function openIncoming(directory: string): Promise<Incoming> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const active = new Map<string, Active>();
  const pathOf = (digest: Digest, id: string): string => join(directory, `${digest}.${id}`);
  return {
    async receive(upload) {
      // It may break before anybody reads from it.
      upload.bytes.on('error', () => {});
      const path = pathOf(upload.digest, upload.id);
      const before = active.get(path);
      const over = endOf(before).then(() => take(path, upload, directory));
      const own: Active = { bytes: upload.bytes, over: over.catch(() => {}) };
      active.set(path, own);
      try {
        return { path, size: await over };
      } finally {
        if (active.get(path) === own) active.delete(path);
      }
    },
    received: async (digest, id) => (await sizeOf(pathOf(digest, id))) ?? 0,
    async sweep(olderThanMs) {
      const paths = (await readdir(directory)).map((name) => join(directory, name));
      const old: string[] = [];
      for (const path of paths) if (!active.has(path) && (await isOlder(path, olderThanMs))) old.push(path);
      for (const path of old) await rm(path, { force: true });
      return old.length;
    },
  };
}

/** A client that comes again has given the connection before up. */
async function endOf(before: Active | undefined): Promise<void> {
  before?.bytes.destroy(new Error('the upload went on over another connection'));
  await before?.over;
}

async function take(path: string, upload: Upload, directory: string): Promise<number> {
  try {
    return await write(path, upload);
  } catch (error) {
    const told = toUploadError(error, upload.bytes, directory);
    if (told.code !== 'bad-request' && told.code !== 'wrong-state') await rm(path, { force: true });
    throw told;
  }
}

/** Bytes that all came through this one call are hashed as they pass; else the file is read again, as a whole. */
async function write(path: string, { digest, offset, bytes }: Upload): Promise<number> {
  const { file, isNew } = await openPart(path, offset);
  const sum = createHash('sha256');
  const early = syncEarly(file, offset);
  let size: number;
  try {
    // Not destroyed when the disk fails: the client is to get an answer.
    size = await saveStream(bytes, file, {
      position: offset,
      onBytes: (piece) => isNew && sum.update(piece),
      onWritten: early.onWritten,
    });
    if (!isNew && (await file.stat()).size > size) await file.truncate(size);
    await early.over();
    await file.sync();
  } finally {
    await early.over().catch(() => {});
    await file.close();
  }
  const found = isNew ? sum.digest('hex') : (await hashFile(path)).digest;
  if (found !== digest) throw mismatch(digest, found);
  return size;
}

async function openPart(path: string, offset: number): Promise<{ file: FileHandle; isNew: boolean }> {
  if (offset > 0 && offset > ((await sizeOf(path)) ?? 0)) throw beyond(offset);
  try {
    return { file: await open(path, 'wx', 0o600), isNew: true };
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
    return { file: await open(path, 'r+'), isNew: false };
  }
}

function beyond(offset: number): PilotageError {
  return new PilotageError(
    'wrong-state',
    `the upload cannot go on at byte ${offset}: this server does not have what comes before. Ask how far it got`,
  );
}

/** `over` rejects when a sync failed: the system tells of a failure once, and the fsync at the end may not see it. */
function syncEarly(file: FileHandle, from: number): { onWritten(end: number): void; over(): Promise<void> } {
  let synced = from;
  let syncing = false;
  let last: Promise<void> = Promise.resolve();
  return {
    onWritten(end) {
      if (syncing || end - synced < SYNC_BYTES) return;
      synced = end;
      syncing = true;
      last = file.datasync().then(() => {
        syncing = false;
      });
      last.catch(() => {});
    },
    over: () => last,
  };
}

async function isOlder(path: string, olderThanMs: number): Promise<boolean> {
  try {
    return Date.now() - (await stat(path)).mtimeMs >= olderThanMs;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
