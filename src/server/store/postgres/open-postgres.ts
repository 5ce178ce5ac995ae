import { EventEmitter } from 'node:events';
import pg from 'pg';
import { messageOf, PilotageError, systemCode } from '../../../ground/base/errors.ts';
import { openSnapshots } from '../dump/open-snapshots.ts';
import type { DumpWish } from '../dump/snapshot.ts';
import { migrationsAfter, NEWEST_VERSION } from '../migrations.ts';
import { isWrite, runVerb, type Store, VERB_NAMES, type VerbName } from '../store.ts';
import { listen } from './notes.ts';
import { openPostgresSnapshot } from './open-snapshot.ts';
import { transactionDb } from './postgres-db.ts';

const CONNECTIONS = 10;
const TRIES = 5;
const SERIALIZATION_FAILURE = '40001';
const DEADLOCK = '40P01';

// Counts and times are below 2^53: as numbers they are the same in both dialects.
pg.types.setTypeParser(pg.types.builtins.INT8, Number);
pg.types.setTypeParser(pg.types.builtins.NUMERIC, Number);

/**
 * A PostgreSQL database (15 or newer), which several servers may share. Each verb is a transaction; one that PostgreSQL
 * undid for the sake of another is tried again. The database's clock rules.
 */
export async function openPostgres(url: string, log: (message: string) => void): Promise<Store> {
  const pool = new pg.Pool({ connectionString: url, max: CONNECTIONS, application_name: 'pilotage' });
  pool.on('error', (error) => log(`a connection to PostgreSQL broke: ${error.message}`));
  try {
    await migrate(pool);
  } catch (error) {
    await pool.end();
    throw error instanceof PilotageError ? error : toStorageError(error);
  }
  const notes = new EventEmitter();
  const snapshots = openSnapshots();
  const listener = await listen(url, (note) => notes.emit('note', note), log);
  const verbs = Object.fromEntries(VERB_NAMES.map((verb) => [verb, (input: unknown) => call(pool, verb, input)]));
  return {
    ...verbs,
    dialect: 'postgres',
    openSnapshot: async (wish: DumpWish) => {
      try {
        return await snapshots.open(() => openPostgresSnapshot(url, wish));
      } catch (error) {
        throw error instanceof PilotageError ? error : toStorageError(error);
      }
    },
    tell: (note: string) => listener.tell(note),
    onNote: (hear: (note: string) => void) => void notes.on('note', hear),
    close: async () => {
      await snapshots.close();
      await listener.close();
      await pool.end();
    },
  } as unknown as Store;
}

/** Two servers that start together migrate one after the other. */
async function migrate(pool: pg.Pool): Promise<void> {
  const client = await pool.connect();
  try {
    await requireVersion(client);
    await client.query('begin');
    await client.query('select pg_advisory_xact_lock(7300)');
    await client.query('create table if not exists schema_version (version bigint not null)');
    const found = await client.query<{ version: number }>('select version from schema_version');
    const version = found.rows[0]?.version ?? 0;
    if (version > NEWEST_VERSION) {
      throw new PilotageError(
        'incompatible-version',
        `the database was made by a newer Pilotage (format ${version}, this one knows ${NEWEST_VERSION}): install that version, or a newer one`,
      );
    }
    if (version === 0) await client.query('create sequence change_sequence');
    for (const text of migrationsAfter(version, 'postgres')) await client.query(text);
    await client.query('delete from schema_version');
    await client.query('insert into schema_version values ($1)', [NEWEST_VERSION]);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  } finally {
    client.release();
  }
}

async function requireVersion(client: pg.PoolClient): Promise<void> {
  const { rows } = await client.query<{ number: string }>(`select current_setting('server_version_num') as number`);
  const number = Number(rows[0]?.number);
  if (number >= 150_000) return;
  throw new PilotageError(
    'incompatible-version',
    `PostgreSQL ${Math.floor(number / 10_000)} is too old: Pilotage needs 15 or newer`,
  );
}

async function call(pool: pg.Pool, verb: VerbName, input: unknown): Promise<unknown> {
  for (let tried = 1; ; tried += 1) {
    try {
      return await transact(pool, verb, input);
    } catch (error) {
      const again = systemCode(error) === SERIALIZATION_FAILURE || systemCode(error) === DEADLOCK;
      if (again && tried < TRIES) continue;
      throw error instanceof PilotageError ? error : toStorageError(error);
    }
  }
}

async function transact(pool: pg.Pool, verb: VerbName, input: unknown): Promise<unknown> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    const began = (await client.query(
      `begin${isWrite(verb) ? '' : ' read only'}; select (extract(epoch from clock_timestamp()) * 1000)::bigint as now`,
    )) as unknown as pg.QueryResult[];
    const result = await runVerb(transactionDb(client, began[1]?.rows[0].now), verb, input);
    await client.query('commit');
    return result;
  } catch (error) {
    broken = await client.query('rollback').then(
      () => undefined,
      (cause: Error) => cause,
    );
    throw error;
  } finally {
    client.release(broken);
  }
}

/** What a failure of PostgreSQL means to whoever waits for an answer (codes: PostgreSQL's appendix A). */
function toStorageError(error: unknown): PilotageError {
  const code = systemCode(error) ?? '';
  if (code === '53100') {
    return new PilotageError(
      'storage-full',
      'the disk of the database is full: nothing of this request was stored. Make room there, then try again',
      { cause: error },
    );
  }
  if (code.startsWith('28') || code === '3D000') {
    return new PilotageError(
      'storage-failed',
      `PostgreSQL refused the connection (${messageOf(error)}): check the user, password and database of --database`,
      { cause: error },
    );
  }
  if (code.startsWith('22') || code.startsWith('23') || code.startsWith('42')) {
    return new PilotageError(
      'internal',
      `the server's database refused a statement (${messageOf(error)}): this is a fault of Pilotage, please report it with the server's log`,
      { cause: error },
    );
  }
  return new PilotageError(
    'storage-failed',
    `the server cannot reach its database (${messageOf(error)}): it will try again; see whether PostgreSQL runs`,
    { cause: error },
  );
}
