import { lstat, open, readdir } from 'node:fs/promises';
import path from 'node:path';
import { PilotageError, systemCode } from '../../base/errors.ts';

/**
 * A directory of backups:
 *
 *   2026-11-27T05-30-45Z/     a backup: manifest.json, database.jsonl.gz, files.txt, with --with-identity identity.json
 *   …Z.incomplete/            one that is being made, or was broken off: no backup
 *   blobs/9f/9f86d0…          files of all of them, each once, by their SHA-256
 */
export const INCOMPLETE = '.incomplete';
export const MANIFEST = 'manifest.json';
export const DATABASE = 'database.jsonl.gz';
export const FILES = 'files.txt';
export const IDENTITY = 'identity.json';

const NAME = /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ(-\d+)?$/;

export function blobPath(directory: string, digest: string): string {
  return path.join(directory, 'blobs', digest.slice(0, 2), digest);
}

export function nameAt(time: Date): string {
  return time
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replaceAll(':', '-');
}

export interface BackupPlace {
  readonly name: string;
  readonly path: string;
  readonly isComplete: boolean;
}

/** What there is, oldest first. */
export async function backupsIn(directory: string): Promise<BackupPlace[]> {
  const names = await readdir(directory).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') throw new PilotageError('not-found', `there is no directory '${directory}'`);
    throw error;
  });
  return names.sort().flatMap((entry) => {
    const name = entry.replace(INCOMPLETE, '');
    if (!NAME.test(name)) return [];
    return [{ name, path: path.join(directory, entry), isComplete: entry === name }];
  });
}

/** The newest one, or the one of that name. */
export async function findBackup(directory: string, at: string | undefined): Promise<BackupPlace> {
  const all = await backupsIn(directory);
  const found = at === undefined ? all.findLast((one) => one.isComplete) : all.find((one) => one.name === at);
  if (found?.isComplete) return found;
  if (found)
    throw new PilotageError(
      'wrong-state',
      `the backup ${found.name} was broken off and is not whole: take another one ('pilotage backup list ${directory}')`,
    );
  const which = at === undefined ? 'no whole backup' : `no backup '${at}'`;
  throw new PilotageError(
    'not-found',
    `there is ${which} in '${directory}': 'pilotage backup list ${directory}' shows those there are`,
  );
}

export async function sizeOf(file: string): Promise<number | undefined> {
  try {
    const stats = await lstat(file);
    return stats.isFile() ? stats.size : undefined;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** A file or directory is on disk when this resolves. */
export async function sync(file: string): Promise<void> {
  const handle = await open(file, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
