import { DatabaseSync } from 'node:sqlite';
import pg from 'pg';
import { migrationsAfter } from '../../src/server/store/migrations.ts';
import type { OpenedStore } from './open-stores.ts';

/** The tables of a database with their columns, as its own catalog has them. */
export async function tablesOf({ url }: OpenedStore): Promise<Map<string, string[]>> {
  return url === undefined ? ofSqlite() : ofPostgres(url);
}

function ofSqlite(): Map<string, string[]> {
  const db = new DatabaseSync(':memory:');
  for (const text of migrationsAfter(0, 'sqlite')) db.exec(text);
  const names = db.prepare("select name from sqlite_schema where type = 'table' and name not like 'sqlite%'").all();
  const tables = names.map(({ name }) => {
    const columns = db.prepare('select name from pragma_table_info(?)').all(name as string);
    return [name as string, columns.map((column) => column.name as string)] as const;
  });
  return new Map(tables);
}

async function ofPostgres(url: string): Promise<Map<string, string[]>> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query(
    "select table_name, column_name from information_schema.columns where table_schema = 'public' order by ordinal_position",
  );
  await client.end();
  const tables = new Map<string, string[]>();
  for (const { table_name: table, column_name: column } of rows)
    tables.set(table, [...(tables.get(table) ?? []), column]);
  return tables;
}
