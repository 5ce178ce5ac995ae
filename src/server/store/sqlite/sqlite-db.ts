import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { Columns, Db } from '../db.ts';
import { sha256 } from '../secrets.ts';
import { EMPTY, type Sql, sql } from '../sql.ts';

/** A connection, with the state that a transaction needs: its time, and the sequence of changes. */
export interface SqliteConnection {
  readonly raw: DatabaseSync;
  readonly db: Db;
  /** The time of the transaction that begins. */
  setNow(now: number): void;
  sequence(): number;
  close(): void;
}

const LOCKED_SECONDS = 10;
const CACHED_STATEMENTS = 500;

export function connect(file: string, options: { readOnly: boolean; sequence: number }): SqliteConnection {
  const raw = new DatabaseSync(file, { readOnly: options.readOnly, timeout: LOCKED_SECONDS * 1000 });
  let sequence = options.sequence;
  let now = 0;
  raw.function('sha256_hex', { deterministic: true }, (text) => sha256(String(text)));
  raw.function('next_sequence', () => ++sequence);
  const prepare = statementCache(raw);
  const db: Db = {
    dialect: 'sqlite',
    get now() {
      return now;
    },
    rows: async <Row>(statement: Sql) => prepare(statement).all(...valuesOf(statement)) as Row[],
    run: async (statement) => Number(prepare(statement).run(...valuesOf(statement)).changes),
    table: jsonTable,
    lock: { rows: EMPTY, skipLocked: EMPTY },
    nextSequence: sql`next_sequence()`,
    sha256: (text) => sql`sha256_hex(${text})`,
  };
  return {
    raw,
    db,
    setNow(time) {
      now = time;
    },
    sequence: () => sequence,
    close: () => raw.close(),
  };
}

function statementCache(raw: DatabaseSync): (statement: Sql) => StatementSync {
  const cache = new Map<string, StatementSync>();
  return (statement) => {
    const text = statement.texts.join('?');
    const known = cache.get(text);
    if (known) return known;
    if (cache.size >= CACHED_STATEMENTS) cache.clear();
    const made = raw.prepare(text);
    cache.set(text, made);
    return made;
  };
}

function valuesOf(statement: Sql): (string | number | null)[] {
  return statement.values as (string | number | null)[];
}

/** Many rows as one value: a JSON list of rows, taken apart by SQLite. */
function jsonTable(columns: Columns): Sql {
  const entries = Object.entries(columns);
  const height = entries[0]?.[1][1].length ?? 0;
  const rows = Array.from({ length: height }, (_, row) => entries.map(([, [, values]]) => values[row] ?? null));
  const names = entries.map(([name], i) => `value ->> ${i} as ${name}`).join(', ');
  const head: Sql = { texts: [`(select ${names} from json_each(`, '))'], values: [JSON.stringify(rows)] };
  return head;
}
