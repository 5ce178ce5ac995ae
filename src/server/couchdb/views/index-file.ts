/** The file that keeps the indexes of one database: SQLite, in a transaction for every page of changes. */
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { messageOf, systemCode } from '../../../ground/base/errors.ts';
import type { Log } from '../../../ground/base/log.ts';

const FILE_FORMAT = 1;

/** Any name of a database makes a safe name of a file. */
export function fileOf(directory: string, database: string): string {
  return join(directory, `${createHash('sha256').update(database).digest('hex').slice(0, 40)}.views`);
}

/** Opens the file; one that is damaged or of another format is thrown away, since it holds copies only. */
export function openIndexFile(file: string, database: string, log: Log): DatabaseSync {
  try {
    return connect(file, database);
  } catch (error) {
    log.warn(
      { database, file, error: messageOf(error) },
      `the indexes of the views of ${database} cannot be read (${messageOf(error)}): they are thrown away and built again`,
    );
    removeIndexFile(file);
    return connect(file, database);
  }
}

export function removeIndexFile(file: string): void {
  for (const end of ['', '-wal', '-shm']) rmSync(file + end, { force: true });
}

/** Whether an error of SQLite says that the file is damaged (SQLITE_CORRUPT, SQLITE_NOTADB). */
export function isDamage(error: unknown): boolean {
  if (systemCode(error) !== 'ERR_SQLITE_ERROR') return false;
  const code = (error as { errcode?: number }).errcode ?? 0;
  return [11, 26].includes(code & 0xff);
}

function connect(file: string, database: string): DatabaseSync {
  const db = new DatabaseSync(file);
  try {
    db.exec('pragma journal_mode = wal; pragma synchronous = normal; pragma cache_size = -8000');
    const { user_version: format } = db.prepare('pragma user_version').get() as { user_version: number };
    if (format === 0) create(db, database);
    else if (format !== FILE_FORMAT) throw new Error(`format ${format}, this version writes ${FILE_FORMAT}`);
    const kept = db.prepare('select name from of_database').get() as { name: string } | undefined;
    if (kept?.name !== database) throw new Error('made for another database');
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function create(db: DatabaseSync, database: string): void {
  db.exec(`begin immediate;
    create table of_database (name text not null);
    create table indexes (
      number integer primary key, design text not null unique, signature text not null,
      position text not null, counts text not null, spoiled text not null
    );
    pragma user_version = ${FILE_FORMAT}`);
  db.prepare('insert into of_database values (?)').run(database);
  db.exec('commit');
}
