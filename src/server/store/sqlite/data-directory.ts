import { existsSync, mkdirSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { messageOf, PilotageError } from '../../../ground/base/errors.ts';
import { networkFileSystem } from '../../../ground/base/network-disk.ts';

export interface DirectoryLock {
  release(): void;
}

/** The mark of a data directory that a restore is filling. */
export const UNFINISHED = 'restore-unfinished';

/** Takes a data directory for this process. Ends with the process, however that ends. */
export function takeDataDirectory(
  directory: string,
  fileSystemOf: (path: string) => number = (path) => statfsSync(path).type,
): DirectoryLock {
  makeDirectory(directory);
  refuseNetwork(directory, fileSystemOf);
  refuseUnfinished(directory);
  const lock = new DatabaseSync(join(directory, 'lock.db'), { timeout: 0 });
  try {
    lock.exec('pragma journal_mode = memory; begin exclusive');
  } catch (error) {
    lock.close();
    throw new PilotageError(
      'already-exists',
      `another server runs in ${directory}: stop it first, or start this one with another --data (server.json there says which process it is)`,
      { cause: error },
    );
  }
  return { release: () => lock.close() };
}

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new PilotageError(
      'storage-failed',
      `cannot make the data directory ${directory} (${messageOf(error)}): choose another one with --data`,
      { cause: error },
    );
  }
}

function refuseUnfinished(directory: string): void {
  if (!existsSync(join(directory, UNFINISHED))) return;
  throw new PilotageError(
    'wrong-state',
    `a restore into ${directory} was broken off, and what is there is not whole: remove the directory and restore again`,
  );
}

function refuseNetwork(directory: string, fileSystemOf: (path: string) => number): void {
  const kind = networkFileSystem(fileSystemOf(directory));
  if (!kind) return;
  throw new PilotageError(
    'storage-failed',
    `${directory} is on a network file system (${kind}), where a database file can be damaged: give a directory on a local disk with --data, or keep the data in PostgreSQL with --database`,
  );
}
