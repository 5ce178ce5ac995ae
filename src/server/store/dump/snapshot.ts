import type { Db, Dialect } from '../db.ts';
import type { Sql } from '../sql.ts';

/** What a dump holds: everything, or what belongs to one project. */
export type DumpWish = { readonly kind: 'all' } | { readonly kind: 'project'; readonly projectId: number };

/**
 * The database at one moment, as lines of JSON (see `write-dump.ts`). The moment is that of the opening. Whoever opened
 * it may end it at any time.
 */
export interface Snapshot {
  /** In pieces of some 100 kB, made as they are asked for. To be asked for once. */
  pieces(): AsyncGenerator<Buffer>;
  /** Idempotent. */
  close(): Promise<void>;
}

export type Value = string | number | null;
export type Row = readonly Value[];

/** A transaction that only looks and sees one state of everything. */
export interface Still {
  readonly db: Db;
  /** Rows as lists, some at a time. */
  batches(statement: Sql): AsyncIterable<readonly Row[]>;
}

/** The first line of a dump. */
export interface DumpHead {
  readonly dump: 1;
  /** The version of the schema. */
  readonly schema: number;
  readonly dialect: Dialect;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Of all changes, so far. */
  readonly sequence: number;
  /** The last number given, for each table that numbers its rows. */
  readonly ids: Readonly<Record<string, number>>;
}

/** Tables that a backup does not hold, and why. */
export const LEFT_OUT: Readonly<Record<string, string>> = {
  meta: 'the clock and the sequence of a SQLite database: in the head of the dump',
  schema_version: 'of a PostgreSQL database: in the head of the dump',
  blob_removals: 'removals under way, by servers that will not be there',
  holds: 'backups, exports and imports under way',
};
