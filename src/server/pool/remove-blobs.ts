import { parseDigest } from '../../ground/base/digest.ts';
import { messageOf } from '../../ground/base/errors.ts';
import type { BlobKey } from '../store/verbs/blobs.ts';
import type { Parts } from './parts.ts';

/** Blobs looked at in one go. */
const CHUNK = 1000;
/** Between two walks over all blobs: a part of the grace time, within these. */
const SHORTEST_REST_MS = 500;
const LONGEST_REST_MS = 60_000;
const BETWEEN_CHUNKS_MS = 200;
/** Uploads that broke off may be gone on with for so long. */
const UPLOAD_MS = 86_400_000;
/** A server that was stopped for longer between mark and removal leaves it: another one may have taken it over meanwhile. */
const SURE_MS = 5000;

export interface BlobRemover {
  stop(): Promise<void>;
}

/** Walks over all blobs, for ever, and removes those that nothing refers to and nobody was told about lately. */
export function startBlobRemover(
  parts: Pick<Parts, 'store' | 'blobs' | 'settings' | 'log'>,
  serverId: string,
): BlobRemover {
  const { store, blobs, log } = parts;
  const { blobGraceMs: graceMs } = parts.settings;
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let after: BlobKey | null = null;

  /** What is left marked comes back with the next round. */
  const removeBytes = async (digest: string, markedSince: number): Promise<void> => {
    if (performance.now() - markedSince > SURE_MS) return;
    await blobs.remove(parseDigest(digest));
    await store.finishRemoval({ digest, server: serverId });
  };
  const remove = async (digest: string): Promise<void> => {
    const begun = performance.now();
    if ((await store.markRemoval({ digest, server: serverId, graceMs })) === 'bytes') await removeBytes(digest, begun);
  };
  const round = async (): Promise<number> => {
    const { serverAliveMs: aliveWithinMs } = parts.settings;
    const begun = performance.now();
    for (const digest of await store.takeOverRemovals({ server: serverId, aliveWithinMs }))
      await removeBytes(digest, begun);
    const chunk = await store.removableBlobs({ after, limit: CHUNK, graceMs });
    for (const digest of chunk.digests) if (!stopped) await remove(digest);
    if (chunk.digests.length > 0)
      log.debug({ blobs: chunk.digests.length }, 'files that nothing refers to were removed');
    after = chunk.next;
    if (after !== null) return BETWEEN_CHUNKS_MS;
    await blobs.sweep(UPLOAD_MS);
    await store.dropHolders();
    return Math.min(LONGEST_REST_MS, Math.max(SHORTEST_REST_MS, graceMs / 4));
  };
  const next = (): void => {
    running = round()
      .catch((error: unknown) => {
        log.error({ err: error }, `removing files failed, it will be tried again: ${messageOf(error)}`);
        return LONGEST_REST_MS / 10;
      })
      .then((rest) => {
        if (!stopped) timer = setTimeout(next, rest);
      });
  };
  let running: Promise<void> = Promise.resolve();
  timer = setTimeout(next, SHORTEST_REST_MS);
  return {
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await running;
      clearTimeout(timer);
    },
  };
}
