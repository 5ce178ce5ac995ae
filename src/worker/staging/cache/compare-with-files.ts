import { statSync } from 'node:fs';
import path from 'node:path';
import { type CacheFiles, isDigestName, namesIn, removeFile } from './cache-files.ts';
import type { Statements } from './cache-schema.ts';

/** A file that nobody went on to download for so long is removed. */
const OLD_PARTIAL_MS = 86_400_000;

/** What is there counts, what is not does not; and what has no business here goes. */
export function compareWithFiles(at: Statements, files: CacheFiles): void {
  const listed = new Map(at.all<{ digest: string; size: number }>('entries').map((row) => [row.digest, row.size]));
  const names = new Set(namesIn(files.blobs));
  for (const digest of listed.keys()) if (!names.has(digest)) at.run('dropEntry', digest);
  for (const name of names) {
    if (!isDigestName(name)) removeFile(path.join(files.blobs, name));
    else if (!listed.has(name)) adopt(at, files, name);
  }
  for (const name of namesIn(files.partials)) {
    const { mtimeMs } = statSync(files.partial(name), { throwIfNoEntry: false }) ?? { mtimeMs: 0 };
    if (Date.now() - mtimeMs > OLD_PARTIAL_MS) removeFile(files.partial(name));
  }
}

/** Lists a file that is there. Undefined when it is not. */
export function adopt(at: Statements, files: CacheFiles, digest: string): number | undefined {
  const stats = statSync(files.blob(digest), { throwIfNoEntry: false });
  at.run('dropEntry', digest);
  if (!stats) return undefined;
  at.run('putEntry', digest, stats.size, Math.round(stats.mtimeMs));
  return stats.size;
}
