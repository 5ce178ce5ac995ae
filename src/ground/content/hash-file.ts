import { createHash, hash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { Digest } from '../base/digest.ts';
import { PilotageError } from '../base/errors.ts';

export interface Hashed {
  readonly digest: Digest;
  readonly size: number;
}

/** What was hashed, and the facts of the file that held before and after: the same as long as nobody wrote to it. */
export interface HashedFile extends Hashed {
  readonly stats: BigIntStats;
}

/** Read at once: large enough that the reading costs nothing beside the hashing, small enough for the processor's cache. */
const PIECE_BYTES = 256 * 1024;
/** A file that is written to all the time is given up after so many tries. */
const TRIES = 3;

/** Digest and size of a file. Begins again when the file changes meanwhile; rejects when it goes on changing. */
export async function hashFile(path: string): Promise<HashedFile> {
  const file = await open(path, 'r');
  try {
    for (let tries = 0; tries < TRIES; tries += 1) {
      const before = await file.stat({ bigint: true });
      const digest = await digestOf(file, Number(before.size));
      const after = await file.stat({ bigint: true });
      if (isUnchanged(before, after)) return { digest, size: Number(after.size), stats: after };
    }
  } finally {
    await file.close();
  }
  throw new PilotageError(
    'wrong-state',
    `'${path}' changes while it is read (${TRIES} times now): try again when nothing writes to it`,
  );
}

export function hashBytes(bytes: string | Buffer): Hashed {
  return { digest: hash('sha256', bytes) as Digest, size: Buffer.byteLength(bytes) };
}

/** Equal facts: the same file with the same content, as far as the file system can tell. */
export function isUnchanged(a: BigIntStats, b: BigIntStats): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs && a.ino === b.ino && a.dev === b.dev;
}

/** Reads to the end that the file had at first. The next piece is on its way while one is hashed. */
async function digestOf(file: FileHandle, size: number): Promise<Digest> {
  const room = Math.max(1, Math.min(PIECE_BYTES, size));
  let [current, spare] = [Buffer.allocUnsafe(room), Buffer.allocUnsafe(size > room ? room : 0)];
  const sum = createHash('sha256');
  let position = 0;
  let read = (await file.read(current, 0, room, 0)).bytesRead;
  while (read > 0 && position < size) {
    position += read;
    const next = position < size ? file.read(spare, 0, room, position) : undefined;
    sum.update(current.subarray(0, read));
    [current, spare] = [spare, current];
    read = next ? (await next).bytesRead : 0;
  }
  return sum.digest('hex') as Digest;
}
