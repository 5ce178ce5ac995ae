/** What is kept of one index beside its rows: whose it is, how far it has read, how many rows, what is spoiled. */
import type { DatabaseSync } from 'node:sqlite';
import type { Spoiled } from './spoiled.ts';

export interface IndexState {
  readonly number: number;
  readonly design: string;
  readonly signature: string;
  readonly position: string;
  /** Rows of each view. */
  readonly counts: readonly number[];
  readonly spoiled: readonly Spoiled[];
}

interface StateRow {
  readonly number: number;
  readonly signature: string;
  readonly position: string;
  readonly counts: string;
  readonly spoiled: string;
}

/** The index of a design document with these functions. One made by earlier functions is dropped. */
export function openState(db: DatabaseSync, design: string, { signature, layout }: StatePlan): IndexState {
  const row = db.prepare('select * from indexes where design = ?').get(design) as StateRow | undefined;
  if (row?.signature === signature) {
    const { counts, spoiled } = row;
    return { ...row, design, counts: JSON.parse(counts) as number[], spoiled: JSON.parse(spoiled) as Spoiled[] };
  }
  return inTransaction(db, () => {
    if (row) drop(db, row.number);
    const inserted = db
      .prepare("insert into indexes (design, signature, position, counts, spoiled) values (?, ?, '', '[]', '[]')")
      .run(design, signature);
    const number = Number(inserted.lastInsertRowid);
    db.exec(layout(number));
    return { number, design, signature, position: '', counts: [], spoiled: [] };
  });
}

export interface StatePlan {
  readonly signature: string;
  /** The statements that make the tables, named with the index's number. */
  readonly layout: (number: number) => string;
}

export function saveState(db: DatabaseSync, { number, position, counts, spoiled }: IndexState): void {
  db.prepare('update indexes set position = ?, counts = ?, spoiled = ? where number = ?').run(
    position,
    JSON.stringify(counts),
    JSON.stringify(spoiled),
    number,
  );
}

export function dropState(db: DatabaseSync, number: number): void {
  inTransaction(db, () => drop(db, number));
}

function drop(db: DatabaseSync, number: number): void {
  db.exec(`drop table if exists rows_${number}; drop table if exists documents_${number}`);
  db.prepare('delete from indexes where number = ?').run(number);
}

export function inTransaction<T>(db: DatabaseSync, run: () => T): T {
  db.exec('begin immediate');
  try {
    const result = run();
    db.exec('commit');
    return result;
  } catch (error) {
    if (db.isTransaction) db.exec('rollback');
    throw error;
  }
}
