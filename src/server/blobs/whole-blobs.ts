import type { Digest } from '../../ground/base/digest.ts';
import { hashBytes } from '../../ground/content/hash-file.ts';
import { inLanes } from '../../ground/content/in-lanes.ts';
import { mismatch } from './blob-errors.ts';
import type { Received } from './blob-store.ts';

export interface WholeBlob {
  readonly digest: Digest;
  readonly bytes: Buffer;
}

/** Blobs that are placed at a time. */
const LANES = 16;

/** Small blobs that are here in memory; `place` brings one of them to where it belongs, `end` makes all of that durable. */
export function receiveInMemory(
  blobs: readonly WholeBlob[],
  place: (blob: WholeBlob) => Promise<void>,
  end: () => Promise<void>,
): Received {
  for (const { digest, bytes } of blobs) {
    const found = hashBytes(bytes).digest;
    if (found !== digest) throw mismatch(digest, found);
  }
  return {
    size: blobs.reduce((sum, { bytes }) => sum + bytes.length, 0),
    place: async () => {
      await inLanes(blobs, LANES, place);
      await end();
    },
    discard: async () => undefined,
  };
}
