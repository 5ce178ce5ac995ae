import { messageOf, PilotageError } from '../../../ground/base/errors.ts';

/** Primary result codes of SQLite (https://sqlite.org/rescode.html). */
const SQLITE = { BUSY: 5, IOERR: 10, CORRUPT: 11, FULL: 13, NOTADB: 26 } as const;

/** What a failure of SQLite means to whoever waits for an answer. */
export function toStorageError(error: unknown): PilotageError {
  if (error instanceof PilotageError) return error;
  switch (primaryCode(error)) {
    case SQLITE.FULL:
      return new PilotageError(
        'storage-full',
        'the disk of the server is full: nothing of this request was stored. Make room on the disk of the data directory, then try again',
        { cause: error },
      );
    case SQLITE.IOERR:
      return new PilotageError(
        'storage-failed',
        `the server could not write its database (${messageOf(error)}): look at the disk of the data directory, then try again`,
        { cause: error },
      );
    case SQLITE.CORRUPT:
    case SQLITE.NOTADB:
      return new PilotageError(
        'storage-failed',
        `the server's database file is damaged (${messageOf(error)}): stop the server and put back a backup, or save what can be saved with 'sqlite3 pilotage.db .recover'`,
        { cause: error },
      );
    default:
      return new PilotageError(
        'internal',
        `the server's database refused a statement (${messageOf(error)}): this is a fault of Pilotage, please report it with the server's log`,
        { cause: error },
      );
  }
}

function primaryCode(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('errcode' in error) || typeof error.errcode !== 'number')
    return undefined;
  return error.errcode & 0xff;
}
