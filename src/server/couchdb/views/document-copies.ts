/** The newest text of every document, for queries that no index helps. */
import type { DatabaseSync } from 'node:sqlite';
import { type IndexState, inTransaction, saveState } from './index-state.ts';
import type { Changed } from './views.ts';

export function documentsLayout(number: number): string {
  return `create table documents_${number} (id text primary key, json text not null)`;
}

export interface DocumentCopies {
  replace(changes: readonly Changed[], state: IndexState): void;
  /** In the order of ids, after one. */
  read(after: string, limit: number): ReadonlyArray<{ readonly id: string; readonly json: string }>;
  find(id: string): string | undefined;
}

export function openDocumentCopies(db: DatabaseSync, number: number): DocumentCopies {
  const table = `documents_${number}`;
  const put = db.prepare(`insert into ${table} values (?, ?) on conflict (id) do update set json = excluded.json`);
  const remove = db.prepare(`delete from ${table} where id = ?`);
  const page = db.prepare(`select id, json from ${table} where id > ? order by id limit ?`);
  const one = db.prepare(`select json from ${table} where id = ?`);
  return {
    replace: (changes, state) =>
      inTransaction(db, () => {
        for (const { id, json } of changes) {
          if (json === null) remove.run(id);
          else put.run(id, json);
        }
        saveState(db, state);
      }),
    read: (after, limit) => page.all(after, limit) as unknown as Array<{ id: string; json: string }>,
    find: (id) => (one.get(id) as { json: string } | undefined)?.json,
  };
}
