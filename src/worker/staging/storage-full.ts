import { statfs } from 'node:fs/promises';
import { PilotageError, systemCode } from '../../ground/base/errors.ts';
import { formatSize } from '../../ground/base/size.ts';

/** Room on the disk of a path: what an ordinary user may still write, and how many files may still be made. */
export interface DiskRoom {
  readonly path: string;
  readonly freeBytes: number;
  readonly freeFiles: number;
}

const SQLITE_FULL = 13;
const TIGHT_BYTES = 256 * 1024;

export function isDiskFull(error: unknown): boolean {
  if (typeof error === 'object' && error !== null && 'errcode' in error && Number(error.errcode) === SQLITE_FULL)
    return true;
  return ['ENOSPC', 'EDQUOT'].includes(systemCode(error) ?? '');
}

/** On a disk with no room SQLite has many words for what went wrong. */
export function isFullHere(error: unknown, { freeBytes, freeFiles }: DiskRoom): boolean {
  const isIndex = typeof error === 'object' && error !== null && 'errcode' in error;
  return isDiskFull(error) || (isIndex && (freeBytes < TIGHT_BYTES || freeFiles === 0));
}

export async function diskRoom(path: string): Promise<DiskRoom> {
  const { bavail, bsize, ffree, files } = await statfs(path);
  // Some file systems make room for files as they need it, and say 0 of 0.
  return { path, freeBytes: bavail * bsize, freeFiles: files === 0 ? Number.POSITIVE_INFINITY : ffree };
}

/** Says which disk is full, how much is free, what to do. `details` has `path` and `freeBytes`, as it was before. */
export function storageFull(before: DiskRoom, now: DiskRoom, cause: unknown): PilotageError {
  return new PilotageError(
    'storage-full',
    `${whatIsFull(now, cause)}: make room there, or start the worker with --cache on a larger disk`,
    { cause, details: { path: before.path, freeBytes: before.freeBytes } },
  );
}

function whatIsFull({ path, freeBytes, freeFiles }: DiskRoom, cause: unknown): string {
  if (systemCode(cause) === 'EDQUOT')
    return `the quota of this worker's user on the disk of ${path} is used up (${formatSize(freeBytes)} are free on the disk itself)`;
  if (freeFiles === 0)
    return `the disk of ${path} takes no more files (no inodes are left, ${formatSize(freeBytes)} are free)`;
  return `the disk of ${path} on this machine is full (${formatSize(freeBytes)} free)`;
}
