import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { routes } from '../../src/ground/protocol/routes.ts';
import { openPostgres } from '../../src/server/store/postgres/open-postgres.ts';
import { takeDataDirectory } from '../../src/server/store/sqlite/data-directory.ts';
import { clientOf, handWorker, succeeded } from '../support/api.ts';
import { missing, POSTGRES, STRACE, skipIfMissing } from '../support/debian.ts';
import { freePort } from '../support/free-port.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { type Running, startCommand, startServer } from '../support/running-server.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

const serve = (data: string, flags: readonly string[] = [], env: Record<string, string> = {}) =>
  startCommand(['serve', '--data', data, ...flags], { env });
const serving = (server: Running) =>
  waitUntil('it serves', () => {
    if (server.child.exitCode !== null) throw new Error(server.stderr());
    return server.stdout().includes('serves at');
  });
const ended = async (server: Running) => {
  server.child.kill('SIGTERM');
  return server.done;
};

const manyTasks = async (client: ReturnType<typeof clientOf>, tasks: number) => {
  const step = { spec: { command: ['true'] }, array: { first: 1, last: tasks, step: 1 } };
  return (await client.call(routes.submit, { body: { steps: [step] } })).submissions[0]?.id as number;
};

describe('a data directory', () => {
  test('belongs to one server', async () => {
    const first = await startServer();
    const second = await serve(first.data, ['--listen', `127.0.0.1:${await freePort()}`]).done;
    expect(second.code).not.toBe(0);
    expect(second.stderr).toContain('another server runs in');
    expect(second.stderr).toContain('--data');
    await first[Symbol.asyncDispose]();
  });

  test('on a network disk is refused, with the way out', () => {
    const nfs = 0x6969;
    expect(() => takeDataDirectory(temporaryDirectory(), () => nfs)).toThrow(/network file system \(NFS\).*--database/);
  });

  test('with a damaged database is refused, and the file is not touched', async () => {
    const server = await startServer();
    await server.run(['submit', '--', 'true']);
    await server.kill('SIGTERM');
    const file = path.join(server.data, 'pilotage.db');
    const handle = openSync(file, 'r+');
    writeSync(handle, Buffer.alloc(4096, 0x5a), 0, 4096, 0);
    closeSync(handle);
    const before = readFileSync(file);
    const again = await serve(server.data).done;
    expect(again.code).not.toBe(0);
    expect(again.stderr).toMatch(/pilotage\.db.*(damaged|not a database).*backup/);
    expect(readFileSync(file).equals(before)).toBe(true);
    rmSync(server.data, { recursive: true });
  });

  test('damaged in the middle is noticed at the start', async () => {
    const server = await startServer();
    await server.run(['submit', '--array', '1-5000', '--', 'true']);
    await server.kill('SIGTERM');
    const file = path.join(server.data, 'pilotage.db');
    const { size } = statSync(file);
    const handle = openSync(file, 'r+');
    for (let at = 8192; at < size; at += 4096) writeSync(handle, Buffer.alloc(512, 0x5a), 0, 512, at);
    closeSync(handle);
    const again = await serve(server.data).done;
    expect(again.code).not.toBe(0);
    expect(again.stderr).toContain('backup');
    rmSync(server.data, { recursive: true });
  });
});

test('a cancellation says how many tasks it ended, also when the keeper ends some of them', async () => {
  await using server = await startServer();
  const client = clientOf(server);
  const id = await manyTasks(client, 100_000);
  expect(await client.call(routes.cancel, { body: { targets: [String(id)] } })).toEqual({ changed: 100_000 });
});

describe('the port', () => {
  test('of the first start is another one when the usual is taken, and is kept from then on', async () => {
    const data = temporaryDirectory();
    const holder = createServer();
    // Either this test takes 9990, or somebody else has it: both ways it is not free.
    await new Promise<void>((resolve) => holder.once('error', () => resolve()).listen(9990, '127.0.0.1', resolve));
    onTestFinished(() => void holder.close());
    const first = serve(data);
    await serving(first);
    expect(first.stdout()).toContain('port 9990 was not free');
    const { url } = JSON.parse(readFileSync(path.join(data, 'server.json'), 'utf8')) as { url: string };
    await ended(first);
    const second = serve(data);
    await serving(second);
    expect(JSON.parse(readFileSync(path.join(data, 'server.json'), 'utf8')).url).toBe(url);
    await ended(second);
    const port = Number(new URL(url).port);
    const thief = createServer();
    await new Promise<void>((resolve) => thief.listen(port, '127.0.0.1', resolve));
    onTestFinished(() => void thief.close());
    const third = await serve(data).done;
    expect(third.code).not.toBe(0);
    expect(third.stderr).toContain(`(process ${process.pid})`);
    expect(third.stderr).toContain('--listen');
  });
});

describe('a full disk', () => {
  test('is answered with 503, loses nothing that was acknowledged, and is over when there is room again', async ({
    skip,
  }) => {
    if (process.getuid?.() !== 0) {
      if (process.env.CI) throw new Error('this test mounts a small file system: it needs root');
      skip('it mounts a small file system, which takes root');
    }
    const data = temporaryDirectory();
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', data]);
    const server = serve(data, ['--listen', '127.0.0.1:0']);
    onTestFinished(async () => {
      await ended(server);
      execFileSync('umount', ['-l', data]);
    });
    await serving(server);
    const here = {
      data,
      url: () => (JSON.parse(readFileSync(path.join(data, 'server.json'), 'utf8')) as { url: string }).url,
    };
    const client = clientOf(here);
    const acknowledged: number[] = [];
    const submitOne = () =>
      client.call(routes.submit, {
        body: { steps: [{ spec: {}, items: Array.from({ length: 200 }, () => ({ payload: 'x'.repeat(500) })) }] },
      });
    const refusal = await waitUntil('the disk to be full', async () => {
      try {
        acknowledged.push((await submitOne()).submissions[0]?.id as number);
        return false;
      } catch (error) {
        return error as { code: string; message: string };
      }
    });
    expect(refusal).toMatchObject({ code: 'storage-full', message: expect.stringContaining('Make room') });
    for (const id of acknowledged) expect((await client.call(routes.submission, { params: { id } })).tasks).toBe(200);
    execFileSync('mount', ['-o', 'remount,size=64m', data]);
    await waitUntil('writing to work again', () =>
      submitOne().then(
        () => true,
        () => false,
      ),
    );
    for (const id of acknowledged)
      expect((await client.call(routes.submission, { params: { id } })).counts.queued).toBe(200);
  });
});

test('an acknowledgement waits for the disk', async ({ skip }) => {
  skipIfMissing(skip, STRACE);
  const data = temporaryDirectory();
  const server = serve(data, ['--listen', '127.0.0.1:0']);
  await serving(server);
  const log = path.join(data, 'calls');
  const strace = spawn(
    'strace',
    [
      '-f',
      '-y',
      '-e',
      'trace=pwrite64,fsync,fdatasync,write,writev,sendto,sendmsg',
      '-s',
      '64',
      '-o',
      log,
      '-p',
      String(server.child.pid),
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  await new Promise<void>((resolve) => strace.stderr.once('data', () => resolve()));
  const here = {
    data,
    url: () => (JSON.parse(readFileSync(path.join(data, 'server.json'), 'utf8')) as { url: string }).url,
  };
  await clientOf(here).call(routes.submit, { body: { steps: [{ spec: {} }] } });
  strace.kill('SIGINT');
  await new Promise((resolve) => strace.once('exit', resolve));
  await ended(server);
  const calls = readFileSync(log, 'utf8').split('\n');
  const answered = calls.findIndex((line) => line.includes('HTTP/1.1 201'));
  const written = calls.findLastIndex((line, i) => i < answered && /pwrite64\(\d+<[^>]*pilotage\.db-wal>/.test(line));
  const synced = calls.findIndex(
    (line, i) => i > written && /(fsync|fdatasync)\(\d+<[^>]*pilotage\.db-wal>/.test(line),
  );
  expect(answered).toBeGreaterThan(0);
  expect(written).toBeGreaterThan(0);
  expect(synced).toBeGreaterThan(written);
  expect(synced).toBeLessThan(answered);
});

describe('PostgreSQL', () => {
  const reason = missing(POSTGRES);
  let postgres: TestPostgres;
  beforeAll(async () => {
    if (!reason) postgres = await startPostgres();
  });
  afterAll(() => postgres?.stop());

  const twoServers = async () => {
    const env = { PILOTAGE_DATABASE: await postgres.newDatabase() };
    const [one, two] = [temporaryDirectory(), temporaryDirectory()].map((data) => ({
      data,
      running: serve(data, ['--listen', '127.0.0.1:0'], env),
      url: () => (JSON.parse(readFileSync(path.join(data, 'server.json'), 'utf8')) as { url: string }).url,
    }));
    await Promise.all([serving(one!.running), serving(two!.running)]);
    const end = () => Promise.all([ended(one!.running), ended(two!.running)]);
    return { first: clientOf(one!), second: clientOf(two!), end };
  };

  test('two servers that start together on an empty database migrate it once', async ({ skip }) => {
    skipIfMissing(skip, POSTGRES);
    const url = await postgres.newDatabase();
    const stores = await Promise.all([1, 2, 3].map(() => openPostgres(url, () => undefined)));
    expect((await stores[0]!.createProject({ name: 'p', owner: 'o' })).made).toBe(true);
    expect((await stores[1]!.createProject({ name: 'p', owner: 'o' })).made).toBe(false);
    await Promise.all(stores.map((store) => store.close()));
  });

  test('two servers share it: what one accepts, a worker of the other runs, and whoever waits at the first hears of it', async ({
    skip,
  }) => {
    skipIfMissing(skip, POSTGRES);
    const { first, second, end } = await twoServers();
    const worker = await handWorker(second);
    // The poll is open at the second server when the first one accepts the task.
    const poll = worker.exchange({ waitSeconds: 20 });
    const begun = performance.now();
    const id = (await first.call(routes.submit, { body: { steps: [{ spec: {} }] } })).submissions[0]?.id as number;
    const { claims } = await poll;
    expect(claims).toHaveLength(1);
    expect(performance.now() - begun).toBeLessThan(5000);
    const waiting = first.call(routes.submission, { params: { id }, query: { waitSeconds: 20, finishedOnly: true } });
    await worker.exchange({ reports: [succeeded(claims[0]!)] });
    expect((await waiting).counts.succeeded).toBe(1);
    await end();
  });

  test('a cancellation says how many tasks it ended, also when both servers and their keepers end them', async ({
    skip,
  }) => {
    skipIfMissing(skip, POSTGRES);
    const { first, second, end } = await twoServers();
    const ids = [await manyTasks(first, 60_000), await manyTasks(second, 30_000)];
    const [one, two] = await Promise.all([
      first.call(routes.cancel, { body: { targets: [String(ids[0])] } }),
      second.call(routes.cancel, { body: { targets: [String(ids[1])] } }),
    ]);
    expect([one.changed, two.changed]).toEqual([60_000, 30_000]);
    await end();
  });

  test('a password on the command line is refused, and one in a file is used', async ({ skip }) => {
    skipIfMissing(skip, POSTGRES);
    const refused = await serve(temporaryDirectory(), ['--database', 'postgres://u:secret@127.0.0.1:1/x']).done;
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('--database-file');
    expect(refused.stderr).not.toContain('secret');
  });

  test('that is not there is told, with what to look at', async () => {
    const port = await freePort();
    const refused = await serve(temporaryDirectory(), ['--database', `postgres://nobody@127.0.0.1:${port}/x`]).done;
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(/cannot reach its database.*PostgreSQL/);
  });
});

test('what a server of a newer version wrote is not touched', async () => {
  const data = temporaryDirectory();
  mkdirSync(data, { recursive: true });
  const { DatabaseSync } = await import('node:sqlite');
  const db = new DatabaseSync(path.join(data, 'pilotage.db'));
  db.exec('pragma user_version = 999');
  db.close();
  writeFileSync(path.join(data, 'note'), '');
  const refused = await serve(data).done;
  expect(refused.code).not.toBe(0);
  expect(refused.stderr).toContain('newer Pilotage');
});
