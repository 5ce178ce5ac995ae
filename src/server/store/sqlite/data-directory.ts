import { mkdirSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { messageOf, PilotageError } from '../../../ground/base/errors.ts';

/** File systems of other machines, by the magic number of statfs(2): SQLite's locks and WAL do not hold on them. */
const NETWORK_FILE_SYSTEMS: Readonly<Record<number, string>> = {
  26985: 'NFS', // 0x6969
  4283649346: 'CIFS', // 0xff534d42
  4266872130: 'SMB2', // 0xfe534d42
  20859: 'SMB', // 0x517b
  1397703499: 'AFS', // 0x5346414f
  12805120: 'Ceph', // 0x00c36400
  198183888: 'Lustre', // 0x0bd00bd0
  1196446803: 'GPFS', // 0x47504653
  428016422: 'BeeGFS', // 0x19830326
  16914839: '9p', // 0x01021997
  1702057286: 'FUSE', // 0x65735546, sshfs among others
};

export interface DirectoryLock {
  release(): void;
}

/** Takes a data directory for this process. Ends with the process, however that ends. */
export function takeDataDirectory(
  directory: string,
  fileSystemOf: (path: string) => number = (path) => statfsSync(path).type,
): DirectoryLock {
  makeDirectory(directory);
  refuseNetwork(directory, fileSystemOf);
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

function refuseNetwork(directory: string, fileSystemOf: (path: string) => number): void {
  const kind = NETWORK_FILE_SYSTEMS[fileSystemOf(directory) >>> 0];
  if (!kind) return;
  throw new PilotageError(
    'storage-failed',
    `${directory} is on a network file system (${kind}), where a database file can be damaged: give a directory on a local disk with --data, or keep the data in PostgreSQL with --database`,
  );
}
