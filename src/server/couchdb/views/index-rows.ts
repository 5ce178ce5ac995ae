/** The rows of one design document's views, in the order in which views are read. */
import type { DatabaseSync, SQLInputValue } from 'node:sqlite';
import { type IndexState, inTransaction, saveState } from './index-state.ts';
import type { MappedRow } from './mapped-rows.ts';

export function rowsLayout(number: number): string {
  return `create table rows_${number} (
      view integer not null, sort_key blob not null, document text not null, nth integer not null,
      key text not null, value text not null,
      primary key (view, sort_key, document, nth)
    ) without rowid;
    create index rows_${number}_of_document on rows_${number} (document)`;
}

export interface MappedDocument {
  readonly id: string;
  readonly rows: readonly MappedRow[];
}

/** One end of a range of rows: all rows of a key, or those from or up to one document's. */
export interface Bound {
  readonly sortKey: Uint8Array;
  readonly document?: string;
  /** Whether the rows at the bound belong to the range. */
  readonly inclusive: boolean;
}

export interface RowRange {
  readonly view: number;
  readonly lower?: Bound;
  readonly upper?: Bound;
}

export interface StoredRow {
  readonly document: string;
  readonly key: string;
  readonly value: string;
  readonly sortKey: Uint8Array;
}

export interface IndexRows {
  /** Puts the rows of documents in place of those they had, and the state beside them, all or nothing. */
  replace(documents: readonly MappedDocument[], state: IndexState): { changed: boolean; state: IndexState };
  /** In order, lazily: the iteration must end before anything is written. */
  read(range: RowRange, page: { descending: boolean; limit: number; skip: number }): IterableIterator<StoredRow>;
  count(range: RowRange): number;
}

export function openRows(db: DatabaseSync, number: number): IndexRows {
  const table = `rows_${number}`;
  const held = db.prepare(`select view, nth, key, value from ${table} where document = ? order by view, nth`);
  const remove = db.prepare(`delete from ${table} where document = ?`);
  const insert = db.prepare(`insert into ${table} values (?, ?, ?, ?, ?, ?)`);

  function replaceOne({ id, rows }: MappedDocument, counts: number[]): boolean {
    const before = held.all(id) as unknown as HeldRow[];
    if (isSame(before, rows)) return false;
    if (before.length > 0) remove.run(id);
    for (const { view } of before) counts[view] = (counts[view] ?? 0) - 1;
    rows.forEach(({ view, sortKey, key, value }, nth) => {
      insert.run(view, sortKey, id, nth, key, value);
      counts[view] = (counts[view] ?? 0) + 1;
    });
    return true;
  }

  return {
    replace: (documents, state) => {
      const next = { ...state, counts: [...state.counts] };
      const changed = inTransaction(db, () => {
        let any = false;
        for (const document of documents) any = replaceOne(document, next.counts) || any;
        for (let view = 0; view < next.counts.length; view++) next.counts[view] ??= 0;
        saveState(db, next);
        return any;
      });
      return { changed, state: next };
    },
    read: (range, { descending, limit, skip }) => {
      const { where, values } = toWhere(range);
      const order = ['sort_key', 'document', 'nth']
        .map((column) => (descending ? `${column} desc` : column))
        .join(', ');
      return db
        .prepare(
          `select document, key, value, sort_key as sortKey from ${table} where ${where} order by ${order} limit ? offset ?`,
        )
        .iterate(...values, limit, skip) as unknown as IterableIterator<StoredRow>;
    },
    count: (range) => {
      const { where, values } = toWhere(range);
      const row = db.prepare(`select count(*) as count from ${table} where ${where}`).get(...values);
      return (row as { count: number }).count;
    },
  };
}

interface HeldRow {
  readonly view: number;
  readonly nth: number;
  readonly key: string;
  readonly value: string;
}

/** Most changes of a document change few of its rows: an index that stays as it is need not be written. */
function isSame(before: readonly HeldRow[], rows: readonly MappedRow[]): boolean {
  if (before.length !== rows.length) return false;
  return before.every(({ view, nth, key, value }) => {
    const row = rows[nth];
    return row?.view === view && row.key === key && row.value === value;
  });
}

function toWhere({ view, lower, upper }: RowRange): { where: string; values: SQLInputValue[] } {
  const where = ['view = ?'];
  const values: SQLInputValue[] = [view];
  const add = (bound: Bound | undefined, sign: '>' | '<'): void => {
    if (!bound) return;
    const compare = bound.inclusive ? `${sign}=` : sign;
    if (bound.document === undefined) where.push(`sort_key ${compare} ?`);
    else where.push(`(sort_key, document) ${compare} (?, ?)`);
    values.push(bound.sortKey, ...(bound.document === undefined ? [] : [bound.document]));
  };
  add(lower, '>');
  add(upper, '<');
  return { where: where.join(' and '), values };
}
