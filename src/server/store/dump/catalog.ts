/** What tables a database has: asked of the database, so that a new table is in every dump without anybody's doing. */
import type { Db } from '../db.ts';
import { type Sql, sql } from '../sql.ts';

export async function listTables(db: Db): Promise<string[]> {
  const rows = await db.rows<{ name: string }>(
    db.dialect === 'sqlite'
      ? sql`select name from sqlite_schema where type = 'table' and name not like 'sqlite%' order by name`
      : sql`select table_name as name from information_schema.tables
          where table_schema = current_schema() and table_type = 'BASE TABLE' order by table_name`,
  );
  return rows.map(({ name }) => name);
}

export async function columnsOf(db: Db, table: string): Promise<string[]> {
  const rows = await db.rows<{ name: string }>(
    db.dialect === 'sqlite'
      ? sql`select name from pragma_table_info(${table}) order by cid`
      : sql`select column_name as name from information_schema.columns
          where table_schema = current_schema() and table_name = ${table} order by ordinal_position`,
  );
  return rows.map(({ name }) => name);
}

/** Those whose rows the database numbers. */
export async function numberedTables(db: Db): Promise<string[]> {
  const rows = await db.rows<{ name: string }>(
    db.dialect === 'sqlite'
      ? sql`select name from sqlite_master where type = 'table' and sql like '%autoincrement%' order by name`
      : sql`select table_name as name from information_schema.columns
          where table_schema = current_schema() and is_identity = 'YES' order by table_name`,
  );
  return rows.map(({ name }) => name);
}

/** The last number given, for each table whose rows the database numbers. Numbers of rows that are gone count. */
export async function lastIds(db: Db): Promise<Record<string, number>> {
  if (db.dialect === 'sqlite') {
    const rows = await db.rows<{ name: string; seq: number }>(sql`select name, seq from sqlite_sequence`);
    return Object.fromEntries(rows.map(({ name, seq }) => [name, seq]));
  }
  const found = await db.rows<{ name: string; last: number | null }>(sql`select c.table_name as name,
      pg_sequence_last_value(pg_get_serial_sequence(quote_ident(c.table_name), c.column_name)::regclass) as last
    from information_schema.columns c where c.table_schema = current_schema() and c.is_identity = 'YES'`);
  return Object.fromEntries(found.flatMap(({ name, last }) => (last === null ? [] : [[name, last]])));
}

export async function lastSequence(db: Db): Promise<number> {
  if (db.dialect === 'postgres') {
    const rows = await db.rows<{ last: number }>(sql`select last_value as last from change_sequence`);
    return rows[0]?.last ?? 0;
  }
  const rows = await db.rows<{ value: string }>(sql`select value from meta where key = 'kept'`);
  return rows[0] ? (JSON.parse(rows[0].value) as { sequence: number }).sequence : 0;
}

/** A name that the database itself gave, or that was found in its catalog, as a part of a statement. */
export function named(...names: readonly string[]): Sql {
  return { texts: [names.map((name) => `"${name.replaceAll('"', '""')}"`).join(', ')], values: [] };
}
