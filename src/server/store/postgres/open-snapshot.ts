import pg from 'pg';
import type { DumpWish, Row, Snapshot, Still } from '../dump/snapshot.ts';
import { writeDump } from '../dump/write-dump.ts';
import type { Sql } from '../sql.ts';
import { toQuery, transactionDb } from './postgres-db.ts';

const BATCH_ROWS = 2000;
/** PostgreSQL itself ends what a server left behind that does not answer any more. */
const LONGEST_SILENCE = '10min';

/** A snapshot on a connection of its own: repeatable read shows one state, and waits for nobody. */
export async function openPostgresSnapshot(url: string, wish: DumpWish): Promise<Snapshot> {
  const client = new pg.Client({ connectionString: url, application_name: 'pilotage snapshot', keepAlive: true });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query(`set idle_in_transaction_session_timeout = '${LONGEST_SILENCE}'`);
    await client.query('begin isolation level repeatable read read only');
    const first = await client.query('select (extract(epoch from clock_timestamp()) * 1000)::bigint as now');
    const still: Still = {
      db: transactionDb(client, first.rows[0].now),
      batches: (statement) => batches(client, statement),
    };
    return {
      async *pieces() {
        for await (const piece of writeDump(still, wish)) yield Buffer.from(piece);
      },
      close: () => client.end(),
    };
  } catch (error) {
    await client.end();
    throw error;
  }
}

async function* batches(client: pg.Client, statement: Sql): AsyncGenerator<readonly Row[]> {
  const { text, values } = toQuery(statement);
  await client.query({ text: `declare rows no scroll cursor for ${text}`, values });
  for (;;) {
    const { rows } = await client.query({ text: `fetch ${BATCH_ROWS} from rows`, rowMode: 'array' });
    yield rows as unknown as Row[];
    if (rows.length < BATCH_ROWS) break;
  }
  await client.query('close rows');
}
