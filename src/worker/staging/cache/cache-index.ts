/**
 * The index of a node's cache, one small SQLite file for all of its processes. Changes that are wanted at the same time
 * are made in one transaction; files are renamed into place and removed inside of it, so that nobody removes what
 * another just put there. Nothing is lost with it: a damaged one is left for a new generation, made from the files.
 *
 *   none ──first change──▶ open ──damaged, removed, or a newer one there──▶ open (next generation)
 */
import { statSync } from 'node:fs';
import path from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { setTimeout as wait } from 'node:timers/promises';
import { type CacheFiles, makeCacheFiles, namesIn, removeFile } from './cache-files.ts';
import { prepareStatements, SCHEMA, SCHEMA_VERSION, type Statements } from './cache-schema.ts';
import { compareWithFiles } from './compare-with-files.ts';
import { forgetDead } from './owners.ts';

/** What a change may use. */
export interface IndexChange {
  readonly at: Statements;
  /** The wall clock, each time later: what is used one after the other is told apart. */
  now(): number;
}

export interface CacheIndex {
  /** Carries out `act` inside a transaction, all of it or nothing. It may be carried out again after damage. */
  change<T>(act: (change: IndexChange) => T): Promise<T>;
  close(): void;
}

interface OpenIndex extends IndexChange {
  readonly db: DatabaseSync;
  readonly generation: number;
  readonly inode: number;
}

interface Wish {
  readonly act: (change: IndexChange) => unknown;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

const NAME = new RegExp(`^index-v${SCHEMA_VERSION}-(\\d+)\\.db$`);
const MOST_AT_ONCE = 500;
const BUSY_MS = 1000;
/** Somebody who holds the index for so long was stopped in the middle: it is left to them. */
const PATIENCE_MS = 60_000;
const LOOK_FOR_DEAD_MS = 200;
const SQLITE = { busy: 5, readonly: 8, ioerr: 10, corrupt: 11, cantopen: 14, notadb: 26 };

export function createCacheIndex(files: CacheFiles): CacheIndex {
  let open: OpenIndex | undefined;
  let lowest = 1;
  let queue: Wish[] = [];
  let working = false;
  let closed = false;
  let lookedForDead = 0;

  const work = async (): Promise<void> => {
    while (queue.length > 0) {
      const wishes = queue.slice(0, MOST_AT_ONCE);
      queue = queue.slice(MOST_AT_ONCE);
      try {
        const outcomes = await commit(wishes);
        wishes.forEach((wish, i) => void outcomes[i]?.(wish));
      } catch (error) {
        for (const wish of wishes) wish.reject(error);
      }
    }
    working = false;
  };

  const commit = async (wishes: readonly Wish[]): Promise<((wish: Wish) => void)[]> => {
    const begun = performance.now();
    for (let tries = 1; ; tries += 1) {
      try {
        return await transact(wishes);
      } catch (error) {
        const code = sqliteCode(error);
        const busy = code === SQLITE.busy && performance.now() - begun < PATIENCE_MS;
        if (code === undefined || (!busy && tries > 6)) throw error;
        if (busy) await wait(100);
        else leave(code === SQLITE.corrupt || code === SQLITE.notadb || code === SQLITE.busy || tries > 3);
      }
    }
  };

  const transact = async (wishes: readonly Wish[]): Promise<((wish: Wish) => void)[]> => {
    const index = await current();
    const { db } = index;
    db.exec('begin immediate');
    try {
      if (performance.now() - lookedForDead > LOOK_FOR_DEAD_MS) {
        lookedForDead = performance.now();
        forgetDead(index.at);
      }
      const outcomes = wishes.map((wish) => attempt(index, wish));
      db.exec('commit');
      return outcomes;
    } catch (error) {
      rollback(db);
      throw error;
    }
  };

  const current = async (): Promise<OpenIndex> => {
    const newest = generations(files).at(-1) ?? 0;
    const generation = Math.max(newest, lowest);
    if (open?.generation === generation && open.inode === inodeOf(fileOf(files, generation))) return open;
    leave(false);
    makeCacheFiles(files.directory);
    open = await openIndex(files, generation);
    for (const older of generations(files)) if (older < generation) removeIndex(files, older);
    return open;
  };

  const leave = (damaged: boolean): void => {
    if (damaged) lowest = (open?.generation ?? generations(files).at(-1) ?? lowest) + 1;
    try {
      open?.db.close();
    } catch {
      // What is damaged need not close well.
    }
    open = undefined;
  };

  return {
    change: <T>(act: (change: IndexChange) => T) => {
      if (closed) return Promise.reject(new Error('this cache was closed'));
      const { promise, resolve, reject } = Promise.withResolvers<T>();
      queue.push({ act, resolve: resolve as (value: unknown) => void, reject });
      if (!working) {
        working = true;
        setImmediate(() => void work());
      }
      return promise;
    },
    close: () => {
      closed = true;
      for (const wish of queue.splice(0)) wish.reject(new Error('this cache was closed'));
      leave(false);
    },
  };
}

/** One change among several: when it fails it is undone alone. */
function attempt(index: OpenIndex, wish: Wish): (wish: Wish) => void {
  index.db.exec('savepoint wish');
  try {
    const value = wish.act(index);
    index.db.exec('release wish');
    return (same) => same.resolve(value);
  } catch (error) {
    // Some faults (a full disk) end the whole transaction: then all of it has failed with this one.
    if (sqliteCode(error) !== undefined || !index.db.isTransaction) throw error;
    index.db.exec('rollback to wish; release wish');
    return (same) => same.reject(error);
  }
}

async function openIndex(files: CacheFiles, generation: number): Promise<OpenIndex> {
  const { DatabaseSync } = await import('node:sqlite');
  const file = fileOf(files, generation);
  const db = new DatabaseSync(file, { timeout: BUSY_MS });
  try {
    // Not WAL: its shared memory is a mapped file, and who cuts that kills all processes that have it open.
    db.exec('pragma journal_mode = persist; pragma synchronous = off; pragma cache_size = -1000; begin immediate');
    db.exec(SCHEMA);
    const at = prepareStatements(db);
    compareWithFiles(at, files);
    db.exec('commit');
    return { db, at, now: laterEachTime(), generation, inode: inodeOf(file) };
  } catch (error) {
    rollback(db);
    db.close();
    throw error;
  }
}

function laterEachTime(): () => number {
  let last = 0;
  return () => {
    last = Math.max(Date.now(), last + 1);
    return last;
  };
}

function generations(files: CacheFiles): number[] {
  return namesIn(files.directory)
    .flatMap((name) => NAME.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

function fileOf(files: CacheFiles, generation: number): string {
  return path.join(files.directory, `index-v${SCHEMA_VERSION}-${generation}.db`);
}

function removeIndex(files: CacheFiles, generation: number): void {
  for (const end of ['-journal', '']) removeFile(fileOf(files, generation) + end);
}

function inodeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.ino ?? 0;
}

function rollback(db: DatabaseSync): void {
  try {
    db.exec('rollback');
  } catch {
    // It was rolled back already, or is damaged: either way nothing of it stays.
  }
}

/** The kind of fault of the index file; undefined when it is something else, or a full disk. */
function sqliteCode(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('errcode' in error)) return undefined;
  const code = Number(error.errcode) & 0xff;
  if (Object.values(SQLITE).includes(code)) return code;
  return code === 1 && error instanceof Error && /no such table/.test(error.message) ? SQLITE.corrupt : undefined;
}
