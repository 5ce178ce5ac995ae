import path from 'node:path';
import { PilotageError } from '../../../ground/base/errors.ts';
import { cacheFiles, isCache } from './cache-files.ts';
import { createCacheIndex, type IndexChange } from './cache-index.ts';
import type { Statements } from './cache-schema.ts';
import { dropPartials, evictTo, factOf } from './evict.ts';

/** What a person wants to know of a node's cache. Sizes in bytes, times in milliseconds since 1970. */
export interface CacheView {
  readonly directory: string;
  readonly bytes: number;
  readonly blobs: number;
  /** As the last worker that used it was told; null while none has. */
  readonly limitBytes: number | null;
  readonly inUse: { readonly blobs: number; readonly bytes: number };
  /** Blobs that are being downloaded now. */
  readonly arriving: number;
  readonly users: readonly CacheUser[];
}

/** A process that uses it: attempts that are staged from it, other workers that are fed, downloads. */
export interface CacheUser {
  readonly pid: number;
  readonly uses: number;
  readonly blobs: number;
  readonly arriving: number;
}

export interface CachedBlob {
  readonly digest: string;
  readonly size: number;
  readonly usedAt: number;
  readonly inUse: boolean;
}

export interface Pruned {
  readonly directory: string;
  readonly blobs: number;
  readonly bytes: number;
  /** What stays. */
  readonly left: number;
}

/** Looks at the cache of a work directory, while workers go on with it. */
export function showCache(workDirectory: string): Promise<CacheView> {
  return inCache(workDirectory, ({ at }, directory) => viewOf(at, directory));
}

/** What it holds, the last used first. */
export function listCache(workDirectory: string): Promise<CachedBlob[]> {
  return inCache(workDirectory, ({ at }) => {
    const pinned = new Set(at.all<{ digest: string }>('pinned').map(({ digest }) => digest));
    const entries = at.all<{ digest: string; size: number; usedAt: number }>('entries');
    return entries.map((entry) => ({ ...entry, inUse: pinned.has(entry.digest) }));
  });
}

/** Removes what is not in use, what was used longest ago first, until no more than `bytes` are left. */
export function pruneCache(workDirectory: string, bytes: number): Promise<Pruned> {
  return inCache(workDirectory, ({ at }, directory) => {
    const partial = dropPartials(at, cacheFiles(directory));
    const evicted = evictTo(at, cacheFiles(directory), bytes);
    return { directory, blobs: evicted.digests.length, bytes: evicted.bytes + partial, left: factOf(at, 'bytes') };
  });
}

async function inCache<T>(workDirectory: string, act: (change: IndexChange, directory: string) => T): Promise<T> {
  const directory = path.join(workDirectory, 'cache');
  if (!isCache(directory)) {
    throw new PilotageError(
      'not-found',
      `there is no cache in ${workDirectory}: 'pilotage worker' makes one there when it is started with --cache ${workDirectory}; name the directory that your workers have`,
    );
  }
  const index = createCacheIndex(cacheFiles(directory));
  try {
    return await index.change((change) => act(change, directory));
  } finally {
    index.close();
  }
}

function viewOf(at: Statements, directory: string): CacheView {
  const limit = factOf(at, 'limit');
  const fetching = at.all<{ owner: number }>('allFetching');
  const uses = new Map(at.all<{ owner: number; uses: number; blobs: number }>('usesOf').map((row) => [row.owner, row]));
  const users = at.all<{ id: number; pid: number }>('owners').map(({ id, pid }) => ({
    pid,
    uses: uses.get(id)?.uses ?? 0,
    blobs: uses.get(id)?.blobs ?? 0,
    arriving: fetching.filter(({ owner }) => owner === id).length,
  }));
  return {
    directory,
    bytes: factOf(at, 'bytes'),
    blobs: at.find<{ blobs: number }>('countEntries')?.blobs ?? 0,
    limitBytes: limit === 0 ? null : limit,
    inUse: at.find<{ blobs: number; bytes: number }>('pinnedEntries') ?? { blobs: 0, bytes: 0 },
    arriving: fetching.length,
    users: users.filter((user) => user.uses + user.arriving > 0),
  };
}
