import { constants } from 'node:fs';
import { chmod, copyFile, mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import path from 'node:path';
import { systemCode } from '../../ground/base/errors.ts';

/** Blobs that this worker fetched before, one file each. Bounded: what was used longest ago goes first. */
export interface BlobCache {
  /** Puts a copy at `destination`; `fetch` downloads the blob when it is not here. Many who want it at once share one download. */
  place(wanted: { digest: string; executable?: boolean }, destination: string, fetch: Fetch): Promise<void>;
}

/** Downloads to a path, verified. Rejects and leaves nothing when that fails. */
export type Fetch = (digest: string, destination: string) => Promise<void>;

interface Entry {
  readonly size: number;
  usedAt: number;
}

export async function openBlobCache(directory: string, maxBytes: number): Promise<BlobCache> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const entries = await readEntries(directory);
  const fetching = new Map<string, Promise<void>>();
  let total = [...entries.values()].reduce((sum, entry) => sum + entry.size, 0);

  const pathOf = (digest: string): string => path.join(directory, digest);
  const fetchOnce = (digest: string, fetch: Fetch): Promise<void> => {
    const under = fetching.get(digest) ?? fetchInto(digest, fetch).finally(() => fetching.delete(digest));
    fetching.set(digest, under);
    return under;
  };
  const fetchInto = async (digest: string, fetch: Fetch): Promise<void> => {
    const arriving = `${pathOf(digest)}.new`;
    await fetch(digest, arriving);
    await rename(arriving, pathOf(digest));
    const { size } = await stat(pathOf(digest));
    total += size;
    entries.set(digest, { size, usedAt: Date.now() });
    await makeRoom(digest);
  };
  const makeRoom = async (newest: string): Promise<void> => {
    const oldestFirst = [...entries].sort((a, b) => a[1].usedAt - b[1].usedAt);
    for (const [digest, entry] of oldestFirst) {
      if (total <= maxBytes) return;
      if (digest === newest) continue;
      entries.delete(digest);
      total -= entry.size;
      await rm(pathOf(digest), { force: true });
    }
  };
  const copyOut = async (digest: string, destination: string): Promise<boolean> => {
    try {
      await copyFile(pathOf(digest), destination, constants.COPYFILE_FICLONE);
    } catch (error) {
      if (systemCode(error) === 'ENOENT' && !entries.has(digest)) return false;
      if (systemCode(error) !== 'ENOENT') throw error;
      entries.delete(digest);
      return false;
    }
    const entry = entries.get(digest);
    if (entry) entry.usedAt = Date.now();
    return true;
  };

  return {
    place: async (wanted, destination, fetch) => {
      while (!(entries.has(wanted.digest) && (await copyOut(wanted.digest, destination)))) {
        await fetchOnce(wanted.digest, fetch);
      }
      await chmod(destination, wanted.executable ? 0o755 : 0o644);
      void utimes(pathOf(wanted.digest), new Date(), new Date()).catch(() => undefined);
    },
  };
}

/** What an earlier worker left; half-arrived files are removed. Files here were verified before they got their name. */
async function readEntries(directory: string): Promise<Map<string, Entry>> {
  const entries = new Map<string, Entry>();
  for (const name of await readdir(directory)) {
    if (!/^[0-9a-f]{64}$/.test(name)) {
      await rm(path.join(directory, name), { force: true, recursive: true });
      continue;
    }
    const { size, mtimeMs } = await stat(path.join(directory, name));
    entries.set(name, { size, usedAt: mtimeMs });
  }
  return entries;
}
