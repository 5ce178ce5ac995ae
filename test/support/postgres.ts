import { execFileSync, spawn } from 'node:child_process';
import { appendFileSync, chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { freePort } from './free-port.ts';
import { waitUntil } from './wait-until.ts';

const BIN = '/usr/lib/postgresql/15/bin';

export interface TestPostgres {
  /** Of an empty database made for the caller. */
  newDatabase(): Promise<string>;
  readonly pid: number;
  stop(): Promise<void>;
}

/** A private PostgreSQL 15 on a free port of 127.0.0.1, with fsync as in real life. */
export async function startPostgres(): Promise<TestPostgres> {
  const directory = mkdtempSync(join(tmpdir(), 'pilotage-postgres-'));
  const user = userForPostgres(directory);
  const data = join(directory, 'data');
  execFileSync(
    `${BIN}/initdb`,
    ['-D', data, '-U', 'pilotage', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync'],
    { ...user, cwd: directory, stdio: 'ignore' },
  );
  const port = await freePort();
  appendFileSync(
    join(data, 'postgresql.conf'),
    `listen_addresses = '127.0.0.1'\nport = ${port}\nunix_socket_directories = '${directory}'\nmax_connections = 200\n`,
  );
  const server = spawn(`${BIN}/postgres`, ['-D', data], { ...user, cwd: directory, stdio: 'ignore' });
  const over = new Promise<void>((resolve) => server.once('exit', () => resolve()));
  const admin = `postgres://pilotage@127.0.0.1:${port}/postgres`;
  await waitUntil('PostgreSQL to answer', () =>
    query(admin, 'select 1').then(
      () => true,
      () => false,
    ),
  );
  let made = 0;
  return {
    pid: server.pid as number,
    async newDatabase() {
      made += 1;
      await query(admin, `create database test${made}`);
      return `postgres://pilotage@127.0.0.1:${port}/test${made}`;
    },
    async stop() {
      server.kill('SIGINT');
      await over;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** PostgreSQL refuses to run as root. */
function userForPostgres(directory: string): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const uid = Number(execFileSync('id', ['-u', 'postgres'], { encoding: 'utf8' }));
  const gid = Number(execFileSync('id', ['-g', 'postgres'], { encoding: 'utf8' }));
  chownSync(directory, uid, gid);
  chmodSync(directory, 0o755);
  return { uid, gid };
}

async function query(url: string, text: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query(text);
  } finally {
    await client.end();
  }
}
