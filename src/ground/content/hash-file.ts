import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { Digest } from '../base/digest.ts';

export interface Hashed {
  readonly digest: Digest;
  readonly size: number;
}

/** Digest and size of a file, read as a stream. */
export async function hashFile(file: string): Promise<Hashed> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 18 })) {
    hash.update(chunk as Buffer);
    size += (chunk as Buffer).length;
  }
  return { digest: hash.digest('hex') as Digest, size };
}

export function hashBytes(bytes: string | Buffer): Hashed {
  return { digest: createHash('sha256').update(bytes).digest('hex') as Digest, size: Buffer.byteLength(bytes) };
}
