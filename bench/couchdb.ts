import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type CouchdbClient, couchdbClient } from '../src/ground/client/couchdb-client.ts';
import { MONITOR_DESIGN, MONITOR_ID } from '../src/server/core/monitor-design.ts';
import { freePort } from '../test/support/free-port.ts';
import { exited, startServer } from './server.ts';

export interface CouchdbFigures {
  readonly pushSeconds: number;
  /** The first view over all of them: the index is built meanwhile. */
  readonly firstViewMs: number;
  /** `limit=100`, nothing changed since the one before. */
  readonly viewMs: readonly number[];
  /** `limit=100` just after a document was written. */
  readonly changedMs: readonly number[];
  readonly claimsASecond: number;
}

interface Load {
  readonly tokens: number;
  readonly rounds: number;
  readonly clients: number;
  readonly claims: number;
}

const BULK = 1000;
const DATABASE = '/bench';
const TODO = `${DATABASE}/_design/Monitor/_view/todo?limit=100`;

/** What PiCaS clients do to a server, by its CouchDB face alone. */
export async function couchdb(load: Load): Promise<CouchdbFigures> {
  const server = await startServer();
  const password = readFileSync(join(server.data, 'admin-token'), 'utf8').trim();
  const open = () => couchdbClient({ url: `${server.url}/couchdb`, user: 'admin', password });
  try {
    return await measure(open, load);
  } finally {
    await server.stop();
  }
}

/** The same load on PouchDB's server, where `BENCH_POUCHDB` says where its program is. */
export async function pouchdb(load: Load): Promise<CouchdbFigures | undefined> {
  const program = process.env.BENCH_POUCHDB;
  if (!program) return undefined;
  const directory = mkdtempSync(join(tmpdir(), 'pilotage-bench-pouchdb-'));
  const port = await freePort();
  const server = spawn(
    process.execPath,
    [program, '--port', String(port), '--host', '127.0.0.1', '--level-prefix', join(directory, 'db-')],
    {
      cwd: directory,
      stdio: 'ignore',
    },
  );
  const open = () => couchdbClient({ url: `http://127.0.0.1:${port}`, user: null, password: null });
  try {
    await answers(open, server);
    return await measure(open, load);
  } finally {
    server.kill('SIGKILL');
    await exited(server);
    rmSync(directory, { recursive: true, force: true });
  }
}

async function answers(open: () => CouchdbClient, server: ChildProcess): Promise<void> {
  for (let tried = 0; server.exitCode === null && tried < 100; tried += 1) {
    const client = open();
    const there = await client.json('GET', '/').then(
      ({ status }) => status === 200,
      () => false,
    );
    client.close();
    if (there) return;
    await pause(100);
  }
  throw new Error('the server does not answer');
}

async function measure(open: () => CouchdbClient, load: Load): Promise<CouchdbFigures> {
  const client = open();
  try {
    await must(client, 'PUT', DATABASE, undefined, [201]);
    await must(client, 'PUT', `${DATABASE}/${MONITOR_ID}`, MONITOR_DESIGN, [201, 409]);
    const pushSeconds = await push(client, load.tokens);
    const firstViewMs = await timed(() => must(client, 'GET', TODO));
    const viewMs: number[] = [];
    const changedMs: number[] = [];
    for (let round = 0; round < load.rounds; round += 1) {
      viewMs.push(await timed(() => must(client, 'GET', TODO)));
      await must(client, 'PUT', `${DATABASE}/extra${round}`, token(), [201]);
      changedMs.push(await timed(() => must(client, 'GET', TODO)));
    }
    const claimsASecond = await claim(open, load);
    return { pushSeconds, firstViewMs, viewMs, changedMs, claimsASecond };
  } finally {
    client.close();
  }
}

async function must(
  client: CouchdbClient,
  method: string,
  path: string,
  body?: unknown,
  wanted = [200],
): Promise<unknown> {
  const { status, value } = await client.json(method, path, body);
  if (!wanted.includes(status)) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(value).slice(0, 300)}`);
  return value;
}

async function timed(act: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await act();
  return performance.now() - begun;
}

function token(): Record<string, unknown> {
  return {
    type: 'token',
    lock: 0,
    done: 0,
    hostname: '',
    scrub_count: 0,
    input: '-q 0.100 -d 256 -m 8400',
    exit_code: '',
    output: {},
    uploads: {},
    error: [],
  };
}

async function push(client: CouchdbClient, tokens: number): Promise<number> {
  const ms = await timed(async () => {
    for (let at = 0; at < tokens; at += BULK) {
      const docs = Array.from({ length: BULK }, (_, i) => ({ _id: `token_${at + i}`, ...token() }));
      await must(client, 'POST', `${DATABASE}/_bulk_docs`, { docs }, [201]);
    }
  });
  return ms / 1000;
}

interface Row {
  readonly id: string;
}

/** As PiCaS' iterator: a view of 100, one of them by chance, the document, the lock on top of its revision. */
async function claim(open: () => CouchdbClient, { clients, claims }: Load): Promise<number> {
  let done = 0;
  const one = async (host: string) => {
    const client = open();
    try {
      while (done < claims) {
        const { rows } = (await must(client, 'GET', TODO)) as { rows: Row[] };
        const row = rows[Math.floor(Math.random() * rows.length)];
        if (!row) return;
        const doc = (await must(client, 'GET', `${DATABASE}/${row.id}`)) as Record<string, unknown>;
        if (doc.lock !== 0) continue;
        const locked = { ...doc, lock: Math.floor(Date.now() / 1000), hostname: host };
        const { status } = await client.json('PUT', `${DATABASE}/${row.id}`, locked);
        if (status === 201) done += 1;
      }
    } finally {
      client.close();
    }
  };
  const ms = await timed(() => Promise.all(Array.from({ length: clients }, (_, i) => one(`node${i}`))));
  return done / (ms / 1000);
}
