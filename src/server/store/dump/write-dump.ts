import { NEWEST_VERSION } from '../migrations.ts';
import { type Sql, sql } from '../sql.ts';
import { columnsOf, lastIds, lastSequence, listTables, named } from './catalog.ts';
import { exportedColumns } from './import-rules.ts';
import { PROJECT_TABLES } from './project-tables.ts';
import { type DumpHead, type DumpWish, LEFT_OUT, type Row, type Still } from './snapshot.ts';

const PIECE_CHARACTERS = 128 * 1024;

/**
 * A dump, in pieces of whole lines. The same for both databases, so that one may be restored into the other:
 *
 *   {"dump":1,"schema":10,"dialect":"sqlite","at":…,"sequence":…,"ids":{"submissions":12,…}}
 *   {"table":"projects","columns":["id","name",…]}
 *   [1,"default",…]                                 a row, for each row
 *   {"files":["digest","size","gone"]}              then the files that the rows refer to, each once
 *   ["9f86d0…",1024,0]
 *   {"end":4711}                                    how many rows there were; without it the dump is not whole
 */
export async function* writeDump(still: Still, wish: DumpWish): AsyncGenerator<string> {
  let piece = `${JSON.stringify(await headOf(still, wish))}\n`;
  let count = 0;
  for await (const { head, rows } of sections(still, wish)) {
    piece += `${JSON.stringify(head)}\n`;
    for await (const batch of rows) {
      for (const row of batch) piece += `${JSON.stringify(row)}\n`;
      count += batch.length;
      if (piece.length < PIECE_CHARACTERS) continue;
      yield piece;
      piece = '';
    }
  }
  yield `${piece}${JSON.stringify({ end: count })}\n`;
}

async function headOf({ db }: Still, wish: DumpWish): Promise<DumpHead> {
  return {
    dump: 1,
    schema: NEWEST_VERSION,
    dialect: db.dialect,
    at: db.now,
    sequence: await lastSequence(db),
    ids: wish.kind === 'all' ? await lastIds(db) : {},
  };
}

interface Section {
  readonly head: object;
  readonly rows: AsyncIterable<readonly Row[]>;
}

async function* sections(still: Still, wish: DumpWish): AsyncGenerator<Section> {
  const { db } = still;
  for (const { table, where } of await tablesOf(still, wish)) {
    const all = await columnsOf(db, table);
    const columns = wish.kind === 'project' ? exportedColumns(table, all) : all;
    const rows = still.batches(sql`select ${named(...columns)} from ${named(table)} ${where}`);
    yield { head: { table, columns }, rows };
  }
  const ours = wish.kind === 'project' ? sql`where project_id = ${wish.projectId}` : sql``;
  const rows = still.batches(
    sql`select digest, max(size) as size, min(gone) as gone from blobs ${ours} group by digest order by digest`,
  );
  yield { head: { files: ['digest', 'size', 'gone'] }, rows };
}

async function tablesOf({ db }: Still, wish: DumpWish): Promise<{ table: string; where: Sql }[]> {
  if (wish.kind === 'project')
    return PROJECT_TABLES.map(({ table, where }) => ({ table, where: sql`where ${where(wish.projectId)}` }));
  return (await listTables(db)).filter((table) => !(table in LEFT_OUT)).map((table) => ({ table, where: sql`` }));
}
