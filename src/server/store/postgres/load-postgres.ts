import pg from 'pg';
import { PilotageError } from '../../../ground/base/errors.ts';
import { listTables, named } from '../dump/catalog.ts';
import { type Loaded, type LoadTarget, type LoadWish, loadDump } from '../dump/load-dump.ts';
import type { DumpEvent } from '../dump/read-dump.ts';
import { toRecord } from '../dump/to-record.ts';
import { migrationsAfter, NEWEST_VERSION } from '../migrations.ts';
import { transactionDb } from './postgres-db.ts';

/** Fills an empty database from a dump, in one transaction. Refuses one that has tables. */
export async function loadPostgres(url: string, events: AsyncIterable<DumpEvent>, wish: LoadWish): Promise<Loaded> {
  const client = new pg.Client({ connectionString: url, application_name: 'pilotage restore', keepAlive: true });
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query('begin');
    const first = await client.query('select (extract(epoch from clock_timestamp()) * 1000)::bigint as now');
    const target = targetOf(client, first.rows[0].now);
    await requireEmpty(target);
    await client.query('create table schema_version (version bigint not null)');
    await client.query('insert into schema_version values ($1)', [NEWEST_VERSION]);
    await client.query('create sequence change_sequence');
    const loaded = await loadDump(target, events, wish);
    await client.query('commit');
    await client.query('analyze');
    return loaded;
  } finally {
    await client.end();
  }
}

async function requireEmpty({ db }: LoadTarget): Promise<void> {
  const [table] = await listTables(db);
  if (table === undefined) return;
  throw new PilotageError(
    'already-exists',
    `the database is not empty (it has a table '${table}'): nothing was changed. Make a new one with 'createdb', and give that`,
  );
}

function targetOf(client: pg.Client, now: number): LoadTarget {
  return {
    db: transactionDb(client, now),
    async migrate(from, to) {
      for (const text of migrationsAfter(from, 'postgres', to)) await client.query(text);
    },
    async insert(table, columns, rows) {
      const names = named(...columns).texts[0];
      const into = named(table).texts[0];
      await client.query(
        `insert into ${into} (${names}) select ${names} from json_populate_recordset(null::${into}, $1::json)`,
        [JSON.stringify(rows.map((row) => toRecord(columns, row)))],
      );
    },
    async setLastId(table, last) {
      const { rows } = await client.query<{ column: string }>(
        `select column_name as column from information_schema.columns
        where table_schema = current_schema() and table_name = $1 and is_identity = 'YES'`,
        [table],
      );
      const [found] = rows;
      if (found) await client.query('select setval(pg_get_serial_sequence($1, $2), $3)', [table, found.column, last]);
    },
    async setSequence(last) {
      await client.query("select setval('change_sequence', $1)", [Math.max(1, last)]);
    },
  };
}
