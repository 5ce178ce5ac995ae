import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { systemCode } from '../../../ground/base/errors.ts';

/**
 * The files of a cache: `blobs/<digest>`, whole and verified before they got that name; `partial/<digest>`, on their
 * way; `index-v…-<generation>.db`, what its processes tell each other.
 */
export interface CacheFiles {
  readonly directory: string;
  readonly blobs: string;
  readonly partials: string;
  blob(digest: string): string;
  partial(digest: string): string;
}

export function cacheFiles(directory: string): CacheFiles {
  const blobs = path.join(directory, 'blobs');
  const partials = path.join(directory, 'partial');
  return {
    directory,
    blobs,
    partials,
    blob: (digest) => path.join(blobs, digest),
    partial: (digest) => path.join(partials, digest),
  };
}

export function makeCacheFiles(directory: string): CacheFiles {
  const files = cacheFiles(directory);
  for (const made of [files.blobs, files.partials]) mkdirSync(made, { recursive: true, mode: 0o700 });
  return files;
}

/** Is this directory a cache? */
export function isCache(directory: string): boolean {
  return existsSync(cacheFiles(directory).blobs);
}

export function isDigestName(name: string): boolean {
  return /^[0-9a-f]{64}$/.test(name);
}

/** Removes a file and says whether it was there. */
export function removeFile(file: string): boolean {
  const there = sizeOf(file) !== undefined;
  rmSync(file, { force: true });
  return there;
}

export function sizeOf(file: string): number | undefined {
  return statSync(file, { throwIfNoEntry: false })?.size;
}

export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}
