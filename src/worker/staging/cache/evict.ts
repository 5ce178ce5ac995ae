import { type CacheFiles, namesIn, removeFile, sizeOf } from './cache-files.ts';
import type { Statements } from './cache-schema.ts';

export interface Evicted {
  readonly digests: readonly string[];
  readonly bytes: number;
  /** By so much the cache is still larger than wanted, because the rest is in use. */
  readonly over: number;
}

/** Removes what was used longest ago and is not in use, until no more than `bytes` are left. Inside a transaction. */
export function evictTo(at: Statements, files: CacheFiles, bytes: number): Evicted {
  const digests: string[] = [];
  const before = factOf(at, 'bytes');
  let over = before + arrivingBytes(at) - bytes;
  while (over > 0) {
    const oldest = at.all<{ digest: string; size: number }>('evictable');
    if (oldest.length === 0) break;
    for (const { digest, size } of oldest) {
      if (over <= 0) break;
      removeFile(files.blob(digest));
      at.run('dropEntry', digest);
      digests.push(digest);
      over -= size;
    }
  }
  return { digests, bytes: before - factOf(at, 'bytes'), over: Math.max(0, over) };
}

/** Removes half-arrived files that nobody is fetching now; says how many bytes they had. */
export function dropPartials(at: Statements, files: CacheFiles): number {
  let bytes = 0;
  for (const name of namesIn(files.partials)) {
    if (at.find('fetching', name)) continue;
    bytes += sizeOf(files.partial(name)) ?? 0;
    removeFile(files.partial(name));
  }
  return bytes;
}

export function factOf(at: Statements, name: 'bytes' | 'limit'): number {
  return at.find<{ value: number }>('fact', name)?.value ?? 0;
}

function arrivingBytes(at: Statements): number {
  return at.find<{ value: number }>('arrivingBytes')?.value ?? 0;
}
