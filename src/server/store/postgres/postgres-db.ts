import type pg from 'pg';
import type { Columns, Db } from '../db.ts';
import { type Sql, sql } from '../sql.ts';

/** A transaction on one connection. */
export function transactionDb(client: pg.ClientBase, now: number): Db {
  return {
    dialect: 'postgres',
    now,
    rows: async <Row>(statement: Sql) => (await client.query(toQuery(statement))).rows as Row[],
    run: async (statement) => (await client.query(toQuery(statement))).rowCount ?? 0,
    table: unnestTable,
    lock: { rows: sql`for update`, skipLocked: sql`for update skip locked` },
    // The transaction has its number before it takes one of the sequence: whoever looks for those under way sees it (see changeHorizon).
    nextSequence: sql`nextval(case when pg_current_xact_id() is not null then 'change_sequence'::regclass end)`,
    sha256: (text) => sql`encode(sha256(convert_to(${text}, 'UTF8')), 'hex')`,
  };
}

export function toQuery(statement: Sql): { text: string; values: unknown[] } {
  const text = statement.texts.reduce((sum, part, i) => (i === 0 ? part : `${sum}$${i}${part}`), '');
  return { text, values: statement.values.map(withoutNul) };
}

/** PostgreSQL's texts hold every character but NUL, and the whole statement would fail for it: the mark of what cannot be shown stands there. */
function withoutNul(value: unknown): unknown {
  if (typeof value === 'string') return value.includes('\0') ? value.replaceAll('\0', '\uFFFD') : value;
  return Array.isArray(value) ? value.map(withoutNul) : value;
}

/** Many rows as one array for each column. */
function unnestTable(columns: Columns): Sql {
  const entries = Object.entries(columns);
  const texts = entries.map((_, i) => (i === 0 ? '(select * from unnest(' : `::${entries[i - 1]?.[1][0]}[], `));
  const last = entries.at(-1)?.[1][0];
  return {
    texts: [...texts, `::${last}[]) as columns(${entries.map(([name]) => name).join(', ')}))`],
    values: entries.map(([, [, values]]) => values),
  };
}
