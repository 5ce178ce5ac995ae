import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import type { Digest } from '../../ground/base/digest.ts';
import { messageOf, PilotageError, systemCode } from '../../ground/base/errors.ts';

/** Bytes by their SHA-256, each in a file of its own. */
export interface Blobs {
  /**
   * Takes bytes in. Resolves with their number once they are verified and on disk. Rejects with `digest-mismatch` when
   * they are not what their name says, `storage-full` when there is no room; then nothing was kept.
   */
  put(digest: Digest, bytes: Readable): Promise<number>;
  /** Bytes from `start` on. Rejects with `not-found`. */
  get(digest: Digest, start?: number): Promise<{ size: number; bytes: Readable }>;
}

export async function openBlobs(directory: string): Promise<Blobs> {
  await mkdir(join(directory, 'incoming'), { recursive: true, mode: 0o700 });
  const fileOf = (digest: Digest) => join(directory, digest.slice(0, 2), digest.slice(2));
  return {
    async put(digest, bytes) {
      const temporary = join(directory, 'incoming', randomUUID());
      try {
        const size = await write(temporary, digest, bytes);
        await moveInto(temporary, fileOf(digest));
        return size;
      } catch (error) {
        await rm(temporary, { force: true });
        throw toBlobError(error, directory);
      }
    },
    async get(digest, start = 0) {
      const size = await sizeOf(fileOf(digest));
      if (size === undefined)
        throw new PilotageError(
          'not-found',
          `the bytes ${digest} are not in this server's store: was its blob directory moved, or emptied?`,
        );
      return { size, bytes: createReadStream(fileOf(digest), { start }) };
    },
  };
}

async function write(path: string, digest: Digest, bytes: Readable): Promise<number> {
  const hash = createHash('sha256');
  let size = 0;
  const file = await open(path, 'wx', 0o600);
  try {
    for await (const chunk of bytes as AsyncIterable<Buffer>) {
      hash.update(chunk);
      size += chunk.length;
      await file.write(chunk);
    }
    const found = hash.digest('hex');
    if (found !== digest)
      throw new PilotageError(
        'digest-mismatch',
        `the bytes sent as ${digest} have the digest ${found}: the file changed while it was read, or the connection damaged it. Send it again`,
      );
    await file.sync();
  } finally {
    await file.close();
  }
  return size;
}

/** The name is on disk only when the directory that holds it is. */
async function moveInto(temporary: string, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await rename(temporary, path);
  await syncDirectory(dirname(path));
  await syncDirectory(dirname(dirname(path)));
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
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

function toBlobError(error: unknown, directory: string): unknown {
  if (error instanceof PilotageError) return error;
  const code = systemCode(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new PilotageError(
      'storage-full',
      `the disk of ${directory} is full: nothing of this upload was kept. Make room, then try again`,
      { cause: error },
    );
  }
  if (code === 'ECONNRESET' || code === 'ERR_STREAM_PREMATURE_CLOSE') {
    return new PilotageError('bad-request', 'the upload broke off before its end: send it again', { cause: error });
  }
  return new PilotageError('storage-failed', `the server could not write into ${directory} (${messageOf(error)})`, {
    cause: error,
  });
}
