import { EventEmitter } from 'node:events';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { isErrorCode, messageOf, PilotageError } from '../../../ground/base/errors.ts';
import { openSnapshots } from '../dump/open-snapshots.ts';
import type { DumpWish } from '../dump/snapshot.ts';
import { migrationsAfter, NEWEST_VERSION } from '../migrations.ts';
import { isWrite, type Store, VERB_NAMES, type VerbName } from '../store.ts';
import { takeDataDirectory } from './data-directory.ts';
import { openSqliteSnapshot } from './open-snapshot.ts';

interface Failed {
  readonly code: string;
  readonly message: string;
  readonly details: Record<string, unknown>;
  readonly trace: string;
}

type Answer = { readonly id: number; readonly value: unknown } | { readonly id: number; readonly failed: Failed };

/**
 * The embedded database: one file in a directory that this process holds alone, a writer thread and a reader thread.
 * Rejects when the directory is held by another server, lies on a network disk, or holds a damaged database.
 */
export async function openSqlite(directory: string): Promise<Store> {
  const lock = takeDataDirectory(directory);
  const file = join(directory, 'pilotage.db');
  try {
    migrate(file);
    const writer = await startThread(file, 'writer');
    const reader = await startThread(file, 'reader');
    return toStore(file, { writer, reader }, lock.release);
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Small databases are looked through at every start; what is wrong with a large one shows when it is read. */
const CHECKED_BYTES = 16 * 1024 * 1024;

function migrate(file: string): void {
  try {
    const db = new DatabaseSync(file);
    db.exec('pragma journal_mode = wal; pragma synchronous = full; begin immediate');
    const row = db.prepare('pragma user_version').get() as { user_version: number };
    refuseNewer(row.user_version);
    for (const text of migrationsAfter(row.user_version, 'sqlite')) db.exec(text);
    db.exec(`pragma user_version = ${NEWEST_VERSION}; commit`);
    if (statSync(file).size < CHECKED_BYTES) check(db);
    db.close();
  } catch (error) {
    if (error instanceof PilotageError) throw error;
    throw new PilotageError(
      'storage-failed',
      `cannot open the database ${file} (${messageOf(error)}): if the file is damaged, put back a backup, or save what can be saved with 'sqlite3 ${file} .recover'; nothing was changed`,
      { cause: error },
    );
  }
}

function refuseNewer(version: number): void {
  if (version <= NEWEST_VERSION) return;
  throw new PilotageError(
    'incompatible-version',
    `the database was made by a newer Pilotage (format ${version}, this one knows ${NEWEST_VERSION}): install that version, or a newer one`,
  );
}

function check(db: DatabaseSync): void {
  const row = db.prepare('pragma quick_check(1)').get() as { quick_check: string };
  if (row.quick_check !== 'ok') throw new Error(row.quick_check);
}

interface Thread {
  call(verb: VerbName, input: unknown): Promise<unknown>;
  close(): Promise<void>;
}

async function startThread(file: string, role: 'writer' | 'reader'): Promise<Thread> {
  const own = import.meta.url.endsWith('.ts') ? './thread.ts' : './thread.js';
  const worker = new Worker(new URL(own, import.meta.url), {
    workerData: { file, role },
    resourceLimits: { maxYoungGenerationSizeMb: 8 },
  });
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  const { promise: ready, resolve: isReady, reject: isBroken } = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  let number = 0;
  worker.on('message', (message: 'ready' | 'closed' | readonly Answer[]) => {
    if (message === 'ready') isReady();
    else if (message === 'closed') closed.resolve();
    else for (const answer of message) settle(waiting, answer);
  });
  worker.on('error', (error) => {
    isBroken(error);
    for (const { reject } of waiting.values())
      reject(
        new PilotageError(
          'storage-failed',
          `the server's ${role} thread ended (${messageOf(error)}): restart the server`,
          { cause: error },
        ),
      );
    waiting.clear();
  });
  await ready;
  return {
    call: (verb, input) => {
      const result = Promise.withResolvers<unknown>();
      waiting.set(++number, result);
      worker.postMessage({ id: number, verb, input });
      return result.promise;
    },
    close: async () => {
      worker.postMessage('close');
      await closed.promise;
      await worker.terminate();
    },
  };
}

function settle(waiting: Map<number, PromiseWithResolvers<unknown>>, answer: Answer): void {
  const result = waiting.get(answer.id);
  waiting.delete(answer.id);
  if ('failed' in answer) result?.reject(toError(answer.failed));
  else result?.resolve(answer.value);
}

function toError(failed: Failed): PilotageError {
  const code = isErrorCode(failed.code) ? failed.code : 'internal';
  return new PilotageError(code, failed.message, {
    details: failed.details,
    cause: failed.trace === '' ? undefined : new Error(failed.trace),
  });
}

function toStore(file: string, { writer, reader }: Record<'writer' | 'reader', Thread>, release: () => void): Store {
  const notes = new EventEmitter();
  const snapshots = openSnapshots();
  const verbs = Object.fromEntries(
    VERB_NAMES.map((verb) => [verb, (input: unknown) => (isWrite(verb) ? writer : reader).call(verb, input)]),
  );
  return {
    ...verbs,
    dialect: 'sqlite',
    openSnapshot: (wish: DumpWish) => snapshots.open(() => openSqliteSnapshot(file, wish)),
    tell: (note: string) => void notes.emit('note', note),
    onNote: (listener: (note: string) => void) => void notes.on('note', listener),
    close: async () => {
      await snapshots.close();
      await reader.close();
      await writer.close();
      release();
    },
  } as unknown as Store;
}
