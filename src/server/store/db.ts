import type { Sql } from './sql.ts';

export type Dialect = 'sqlite' | 'postgres';

/** Columns of a list of rows that goes into one statement, by name: what type, and the values, row after row. */
export type Columns = Readonly<
  Record<string, readonly ['bigint', readonly (number | null)[]] | readonly ['text', readonly (string | null)[]]>
>;

/**
 * A transaction. All statements of one see one time. Rejections leave the transaction useless: the verb must let
 * them pass, and the whole of it is undone.
 */
export interface Db {
  readonly dialect: Dialect;
  /** Milliseconds since 1970, by the database's own clock, which never runs backwards. */
  readonly now: number;
  rows<Row>(statement: Sql): Promise<Row[]>;
  /** For statements that change: how many rows did. */
  run(statement: Sql): Promise<number>;
  /** The columns as a table to join with (`… from ${db.table({idx: ['bigint', [1, 2]]})} as given`). */
  table(columns: Columns): Sql;
  /** `for update` where several writers share the tables, nothing where there is one. */
  readonly lock: { readonly rows: Sql; readonly skipLocked: Sql };
  /** The next number of the sequence of all changes. */
  readonly nextSequence: Sql;
  /** SHA-256 (hex) of a text expression. */
  sha256(text: Sql): Sql;
}

/** The first row, if there is one. */
export async function firstRow<Row>(db: Db, statement: Sql): Promise<Row | undefined> {
  const rows = await db.rows<Row>(statement);
  return rows[0];
}
