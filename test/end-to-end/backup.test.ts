import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, onTestFinished, test } from 'vitest';
import { routes } from '../../src/ground/protocol/routes.ts';
import type { TaskView } from '../../src/ground/protocol/task.ts';
import { adminToken, clientOf, raw } from '../support/api.ts';
import { startWorker } from '../support/command-worker.ts';
import { POSTGRES, STRACE, skipIfMissing } from '../support/debian.ts';
import { freePort } from '../support/free-port.ts';
import { startPostgres } from '../support/postgres.ts';
import { type RunningServer, startCommand, startServer } from '../support/running-server.ts';
import { smallDisk } from '../support/small-disk.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

interface Taken {
  readonly name: string;
  readonly path: string;
  readonly rows: number;
  readonly files: number;
  readonly newBytes: number;
}

const backup = (server: RunningServer, to: string, flags: readonly string[] = []) =>
  server.json<Taken>(['backup', to, ...flags]);

const restore = (from: string, data: string, flags: readonly string[]) =>
  startCommand(['restore', from, '--data', data, ...flags], {}).done;

/** A server on data that are there. */
async function serveAt(data: string, flags: readonly string[] = []): Promise<RunningServer> {
  const server = await startServer(flags, {}, data);
  onTestFinished(() => server[Symbol.asyncDispose]());
  return server;
}

const tasksOf = (server: RunningServer, submission: number) =>
  server.json<TaskView[]>(['tasks', String(submission), '--limit', '1000']);

async function submitted(server: RunningServer, argv: readonly string[]): Promise<number> {
  return (await server.json<{ id: number }>(['submit', ...argv])).id;
}

/** The files of a server, which are long enough to be files of their own. */
function blobsOf(server: RunningServer): string[] {
  const blobs = path.join(server.data, 'blobs');
  return readdirSync(blobs, { recursive: true, encoding: 'utf8' })
    .filter((name) => /[0-9a-f]{60}$/.test(name))
    .map((name) => path.join(blobs, name));
}

/** Each leaves an output; resolves when all have ended. */
const withOutput = (range: string, script: string) =>
  ['--array', range, '--output', 'out.txt', '--wait', '--', 'sh', '-c', script] as const;

/** Each leaves its number, after a file says that it may. */
const gated = (gate: string) => ['sh', '-c', `while [ ! -e ${gate} ]; do sleep 0.05; done; echo {index} > out.txt`];

describe('a backup that is taken while tasks run', () => {
  test('brings everything back after the server and its disk are gone: workers go on, and each task ends once', async () => {
    await using server = await startServer([
      '--heartbeat',
      '1s',
      '--lease',
      '4s',
      '--listen',
      `127.0.0.1:${await freePort()}`,
    ]);
    const place = temporaryDirectory();
    const gate = path.join(temporaryDirectory(), 'gate');
    const token = path.join(temporaryDirectory(), 'token');
    cpSync(path.join(server.data, 'admin-token'), token);
    await startWorker(server, 'lasting', ['--slots', '3', '--token-file', token]);
    const input = path.join(temporaryDirectory(), 'input.txt');
    writeFileSync(input, 'x'.repeat(100_000));
    const before = await submitted(server, [
      '--array',
      '1-3',
      '--input',
      input,
      '--output',
      'out.txt',
      '--wait',
      '--',
      'sh',
      '-c',
      'wc -c < input.txt > out.txt',
    ]);
    const during = await submitted(server, ['--array', '1-6', '--output', 'out.txt', '--', ...gated(gate)]);
    await waitUntil(
      'three of them run',
      async () => (await tasksOf(server, during)).filter(({ state }) => state === 'running').length === 3,
    );
    const taken = await backup(server, place, ['--with-identity']);
    expect(taken.files).toBeGreaterThan(1);
    const after = await submitted(server, ['--', 'true']);
    await server.kill('SIGKILL');
    rmSync(server.data, { recursive: true });
    const restored = await restore(place, server.data, ['--same-identity']);
    expect(restored.stderr + restored.stdout).toContain('NEVER start the server that was backed up again');
    expect(restored.code).toBe(0);
    await server.restart();
    writeFileSync(gate, '');
    await waitUntil(
      'all of them are done',
      async () => (await tasksOf(server, during)).every(({ state }) => state === 'succeeded'),
      60,
    );
    // Those that ran at the time of the backup went on: nobody ran them a second time.
    expect((await tasksOf(server, during)).map(({ attempt }) => attempt)).toEqual([1, 1, 1, 1, 1, 1]);
    const to = temporaryDirectory();
    for (const id of [before, during])
      expect((await server.run(['results', String(id), '--to', path.join(to, String(id))])).code).toBe(0);
    expect(readFileSync(path.join(to, String(during), '4', 'out.txt'), 'utf8')).toBe('4\n');
    expect(readFileSync(path.join(to, String(before), '2', 'out.txt'), 'utf8').trim()).toBe('100000');
    // What was accepted after the backup is lost, and its number is not given again.
    expect(await submitted(server, ['--', 'true'])).toBeGreaterThan(after);
  });

  test('restored as a copy runs nothing a second time, beside the original that goes on', async () => {
    await using server = await startServer(['--workers', '2']);
    const place = temporaryDirectory();
    const directory = temporaryDirectory();
    const gate = path.join(directory, 'gate');
    const ran = path.join(directory, 'ran');
    const id = await submitted(server, [
      '--array',
      '1-4',
      '--output',
      'out.txt',
      '--',
      'sh',
      '-c',
      `echo {index} >> ${ran}; ${gated(gate)[2]}`,
    ]);
    await waitUntil('two of them run', () => existsSync(ran) && readFileSync(ran, 'utf8').split('\n').length === 3);
    await backup(server, place);
    const data = path.join(temporaryDirectory(), 'copy');
    const restored = await restore(place, data, ['--new-identity']);
    expect(restored.stdout).toContain("4 unfinished tasks are cancelled in it ('pilotage retry' runs them here)");
    const copy = await serveAt(data, ['--workers', '2']);
    writeFileSync(gate, '');
    await server.run(['submit', '--wait', '--after', String(id), '--', 'true']);
    expect(readFileSync(ran, 'utf8').trim().split('\n').sort()).toEqual(['1', '2', '3', '4']);
    expect((await tasksOf(copy, id)).map(({ state }) => state)).toEqual(Array(4).fill('cancelled'));
    expect(readFileSync(path.join(data, 'admin-token'), 'utf8')).not.toBe(
      readFileSync(path.join(server.data, 'admin-token'), 'utf8'),
    );
    // The old server's token is no administrator's here.
    const old = await copy.run(['--token-file', path.join(server.data, 'admin-token'), 'whoami']);
    expect([old.code === 0, old.stdout]).toEqual([false, '']);
    await copy.run(['retry', String(id)]);
    await waitUntil('the copy runs them when it is told to', async () =>
      (await tasksOf(copy, id)).every(({ state }) => state === 'succeeded'),
    );
  });
});

test('a backup of SQLite is restored into PostgreSQL, into an empty database only', async ({ skip }) => {
  skipIfMissing(skip, POSTGRES);
  const postgres = await startPostgres();
  onTestFinished(() => postgres.stop());
  await using server = await startServer(['--workers', '1']);
  const place = temporaryDirectory();
  const id = await submitted(server, ['--output', 'out.txt', '--wait', '--', 'sh', '-c', 'seq 20000 > out.txt']);
  await backup(server, place);
  const url = await postgres.newDatabase();
  const data = path.join(temporaryDirectory(), 'data');
  const to = ['--new-identity', '--database', url];
  expect(await restore(place, data, to)).toMatchObject({ code: 0 });
  const again = await restore(place, path.join(temporaryDirectory(), 'other'), to);
  expect(again.stderr).toContain('the database is not empty');
  const copy = await startServer(['--workers', '1'], { PILOTAGE_DATABASE: url }, data);
  const results = temporaryDirectory();
  expect((await copy.run(['results', String(id), '--to', results])).code).toBe(0);
  expect(readFileSync(path.join(results, '1', 'out.txt'), 'utf8')).toMatch(/\n20000\n$/);
  expect((await copy.run(['run', '--', 'true'])).code).toBe(0);
  await copy[Symbol.asyncDispose]();
});

describe('a directory of backups', () => {
  test('holds each file once, however often it is backed up, and says what is in it', async () => {
    await using server = await startServer(['--workers', '1']);
    const place = temporaryDirectory();
    await submitted(server, ['--output', 'out.txt', '--wait', '--', 'sh', '-c', 'seq 20000 > out.txt']);
    const first = await backup(server, place);
    const second = await backup(server, place);
    expect(first.newBytes).toBeGreaterThan(100_000);
    expect(second.newBytes).toBe(0);
    const listed = await server.json<{ name: string; state: string }[]>(['backup', 'list', place]);
    expect(listed.map(({ name, state }) => [name, state])).toEqual([
      [first.name, 'whole'],
      [second.name, 'whole'],
    ]);
    expect((await server.run(['backup', 'verify', place])).stdout).toContain('is whole');
    expect(statSync(path.join(second.path, 'database.jsonl.gz')).mode & 0o077).toBe(0);
    expect(existsSync(path.join(second.path, 'identity.json'))).toBe(false);
  });

  test('holds what the server took for lost and has again', async () => {
    await using server = await startServer(['--workers', '1']);
    const place = temporaryDirectory();
    const id = await submitted(server, ['--output', 'out.txt', '--wait', '--', 'sh', '-c', 'seq 20000 > out.txt']);
    const [blob] = blobsOf(server) as [string];
    renameSync(blob, `${blob}.away`);
    expect((await server.run(['results', String(id), '--to', temporaryDirectory()])).code).not.toBe(0);
    expect((await server.run(['backup', place])).stderr).toContain('lost 1 file');
    renameSync(`${blob}.away`, blob);
    const whole = await server.run(['backup', place]);
    expect([whole.code, whole.stderr]).toEqual([0, expect.not.stringContaining('lost')]);
    const data = path.join(temporaryDirectory(), 'data');
    expect(await restore(place, data, ['--new-identity'])).toMatchObject({ code: 0 });
    const copy = await serveAt(data);
    const to = temporaryDirectory();
    expect((await copy.run(['results', String(id), '--to', to])).code).toBe(0);
    expect(readFileSync(path.join(to, '1', 'out.txt'), 'utf8')).toContain('20000');
  });

  test('of a server that had nothing yet gives none of the numbers that came later, nor its administrator access', async () => {
    await using server = await startServer();
    const place = temporaryDirectory();
    await backup(server, place);
    const id = await submitted(server, ['--', 'true']);
    const token = adminToken(server);
    const data = path.join(temporaryDirectory(), 'data');
    const blobs = path.join(temporaryDirectory(), 'blobs');
    const restored = await restore(place, data, ['--same-identity', '--blobs', blobs]);
    expect(restored.stdout).toContain(`pilotage serve --data ${data} --blobs ${blobs}`);
    const next = await serveAt(data, ['--blobs', blobs]);
    expect(await submitted(next, ['--', 'true'])).toBeGreaterThan(id + 1000);
    expect((await raw(next, 'GET /api/v1/projects', { token })).status).toBe(401);
  });

  test('is on disk before a backup counts, also what an earlier run brought that was killed', async ({ skip }) => {
    skipIfMissing(skip, STRACE);
    await using server = await startServer(['--workers', '1']);
    const top = temporaryDirectory();
    const place = path.join(top, 'made', 'too');
    await submitted(server, ['--output', 'out.txt', '--wait', '--', 'sh', '-c', 'seq 20000 > out.txt']);
    const traced = async () => {
      const out = path.join(temporaryDirectory(), 'trace');
      const exec = ['strace', '-f', '-y', '-e', 'trace=fsync,rename', '-o', out];
      expect(await server.run(['backup', place], { exec })).toMatchObject({ code: 0 });
      const lines = readFileSync(out, 'utf8').split('\n');
      const at = (what: RegExp) => lines.findIndex((line) => line.includes(place) && what.test(line));
      const manifest = at(/fsync\(.*\/manifest\.json>/);
      const names = [/fsync\(.*\/blobs\/[0-9a-f]{2}>/, /fsync\(.*\/blobs>/, new RegExp(`fsync\\(.*${place}>`)].map(at);
      for (const name of names) expect(name).toBeGreaterThanOrEqual(0);
      expect(Math.max(...names)).toBeLessThan(manifest);
      const above = [top, path.dirname(place)].map((one) =>
        lines.some((line) => line.includes('fsync(') && line.includes(`<${one}>`)),
      );
      return { above, bytes: at(/fsync\(.*\.part>/), renamed: at(/rename\(.*\.part"/) };
    };
    const { above, bytes, renamed } = await traced();
    expect(above).toEqual([true, true]);
    expect(bytes).toBeGreaterThanOrEqual(0);
    expect(bytes).toBeLessThan(renamed);
    for (const name of readdirSync(place)) if (name.endsWith('Z')) rmSync(path.join(place, name), { recursive: true });
    expect(await traced()).toEqual({ above: [false, false], bytes: -1, renamed: -1 });
  });

  test('with a file that was damaged, or is missing, is not restored, and the file is named', async () => {
    await using server = await startServer(['--workers', '1']);
    const place = temporaryDirectory();
    await submitted(server, ['--output', 'out.txt', '--wait', '--', 'sh', '-c', 'seq 20000 > out.txt']);
    const { path: at } = await backup(server, place);
    const blob = readdirSync(path.join(place, 'blobs'), { recursive: true, encoding: 'utf8' }).find((name) =>
      /[0-9a-f]{64}$/.test(name),
    ) as string;
    for (const spoil of [
      (file: string) => appendFileSync(file, 'x'),
      (file: string) => writeFileSync(file, readFileSync(file).reverse()),
      (file: string) => rmSync(file),
    ])
      for (const name of [
        path.join(place, 'blobs', blob),
        path.join(at, 'database.jsonl.gz'),
        path.join(at, 'files.txt'),
      ]) {
        const kept = readFileSync(name);
        spoil(name);
        const data = path.join(temporaryDirectory(), 'data');
        const refused = await restore(place, data, ['--new-identity']);
        expect(refused.code).not.toBe(0);
        expect(refused.stderr).toContain(path.basename(name));
        expect(existsSync(data)).toBe(false);
        const verified = await server.run(['backup', 'verify', place]);
        expect(verified.code).toBe(1);
        writeFileSync(name, kept);
      }
    rmSync(path.join(at, 'manifest.json'));
    expect((await restore(place, path.join(temporaryDirectory(), 'data'), ['--new-identity'])).stderr).toContain(
      'is no backup',
    );
  });

  test('is not restored over anything, nor without a word on who it is to be', async () => {
    await using server = await startServer();
    const place = temporaryDirectory();
    await backup(server, place);
    expect((await restore(place, server.data, ['--same-identity'])).stderr).toContain('is not empty');
    const unsaid = await restore(place, path.join(temporaryDirectory(), 'data'), []);
    expect(unsaid).toMatchObject({ code: 2, stderr: expect.stringContaining('--new-identity') });
    const broken = temporaryDirectory();
    mkdirSync(broken, { recursive: true });
    writeFileSync(path.join(broken, 'restore-unfinished'), '');
    expect((await restore(place, broken, ['--new-identity'])).stderr).toContain('broken off');
    expect((await startCommand(['serve', '--data', broken], {}).done).stderr).toContain('a restore into');
  });
});

describe('a target that fails', () => {
  /** With 16 MiB in files. */
  const running = async (fileSize = 2 * 1024 * 1024) => {
    const server = await startServer(['--workers', '2']);
    onTestFinished(() => server[Symbol.asyncDispose]());
    // A large file is more than a socket takes in by itself.
    const files = temporaryDirectory();
    for (let i = 0; i < (16 * 1024 * 1024) / fileSize; i += 1)
      writeFileSync(path.join(files, `${i}`), randomBytes(fileSize));
    await server.run(['submit', '--input', files, '--wait', '--', 'true']);
    return server;
  };
  /** Tasks go on, and all of them come through. */
  const works = async (server: RunningServer) => {
    const id = await submitted(server, ['--array', '1-20', '--wait', '--', 'true']);
    expect((await tasksOf(server, id)).every(({ state, attempt }) => state === 'succeeded' && attempt === 1)).toBe(
      true,
    );
  };
  const whole = async (server: RunningServer, place: string) =>
    (await server.json<{ state: string }[]>(['backup', 'list', place])).filter(({ state }) => state === 'whole').length;

  test('with a full disk harms nobody; with room again it goes on', async ({ skip }) => {
    const place = path.join(smallDisk('6m', skip), 'backups');
    // Eight travel side by side: small enough that some are there when the disk is full.
    const server = await running(256 * 1024);
    const [failed] = await Promise.all([server.run(['backup', place]), works(server)]);
    expect(failed.code).not.toBe(0);
    expect(failed.stderr).toMatch(/the disk of '.*' is full.*does not count.*goes on/);
    expect(await whole(server, place)).toBe(0);
    execFileSync('mount', ['-o', 'remount,size=64m', path.dirname(place)]);
    const taken = await backup(server, place);
    expect(taken.newBytes).toBeLessThan(16 * 1024 * 1024);
    expect(await whole(server, place)).toBe(1);
  });

  test('that cannot be written is named', async () => {
    const server = await running();
    const file = path.join(temporaryDirectory(), 'file');
    writeFileSync(file, '');
    const failed = await server.run(['backup', path.join(file, 'below')]);
    expect(failed.code).not.toBe(0);
    expect(failed.stderr).toMatch(/cannot be written/);
    await works(server);
  });

  /** Somebody looks at an old state of the database, which cannot be cleaned up meanwhile. */
  const isHeldOpen = (server: RunningServer): boolean => {
    const db = new DatabaseSync(path.join(server.data, 'pilotage.db'), { timeout: 0 });
    try {
      return db.prepare('pragma wal_checkpoint(restart)').get()?.busy === 1;
    } finally {
      db.close();
    }
  };

  test('that stands still is let go by the server, which cleans up meanwhile; when it goes on it begins again', async () => {
    const server = await running();
    await submitted(server, ['--array', '1-150000', '--', 'false']);
    const place = temporaryDirectory();
    const stopped = server.start(['backup', place]);
    await waitUntil('it reads', () =>
      readdirSync(place, { recursive: true, encoding: 'utf8' }).some((name) => name.endsWith('database.jsonl.gz')),
    );
    stopped.child.kill('SIGSTOP');
    await submitted(server, ['--', 'true']);
    expect(isHeldOpen(server)).toBe(true);
    await waitUntil('it is let go', () => !isHeldOpen(server), 60);
    await server.run(['cancel', '2']);
    await works(server);
    stopped.child.kill('SIGCONT');
    expect(await stopped.done).toMatchObject({ code: 0 });
    expect((await server.run(['backup', 'verify', place])).code).toBe(0);
  });

  test('that closes the connection in the middle, again and again, leaves nothing open', async () => {
    const server = await running();
    await submitted(server, ['--array', '1-30000', '--', 'false']);
    const client = clientOf(server);
    const { id } = await client.call(routes.startBackup);
    for (let times = 0; times < 10; times += 1) {
      const body = await client.stream(routes.copyDatabase, { params: { id } });
      await once(body, 'readable');
      body.destroy();
    }
    await submitted(server, ['--', 'true']);
    await waitUntil('all of them are let go', () => !isHeldOpen(server), 10);
    await server.run(['cancel', '2']);
    await works(server);
  });

  test('is not the server: whose own disk is full while it is copied is copied all the same', async ({ skip }) => {
    const data = path.join(smallDisk('24m', skip), 'data');
    const server = await serveAt(data, ['--workers', '1']);
    await submitted(server, ['--output', 'out.txt', '--wait', '--', 'sh', '-c', 'seq 20000 > out.txt']);
    const client = clientOf(server);
    const { id } = await client.call(routes.startBackup);
    expect(() => execFileSync('dd', ['if=/dev/zero', `of=${data}/filler`, 'bs=64k'], { stdio: 'ignore' })).toThrow();
    const lines = (await (await client.stream(routes.copyDatabase, { params: { id } })).toArray()).join('').split('\n');
    expect(lines.at(-2)).toMatch(/^\{"end":\d+\}$/);
    const [digest, size] = JSON.parse(lines.findLast((line) => /^\["[0-9a-f]{64}"/.test(line)) as string) as [
      string,
      number,
    ];
    const bytes = await (await client.stream(routes.copyBlob, { params: { id, digest } })).toArray();
    expect(Buffer.concat(bytes)).toHaveLength(size);
    rmSync(path.join(data, 'filler'));
    await works(server);
  });

  test('that is killed in the middle leaves no backup, and the next one goes on', async () => {
    const server = await running();
    const place = temporaryDirectory();
    const killed = server.start(['backup', place]);
    await waitUntil(
      'something arrived',
      () => existsSync(path.join(place, 'blobs')) && readdirSync(path.join(place, 'blobs')).length > 0,
    );
    killed.child.kill('SIGKILL');
    await killed.done;
    expect(await whole(server, place)).toBe(0);
    await works(server);
    await backup(server, place);
    expect((await server.run(['backup', 'verify', place])).code).toBe(0);
  });
});

test('a server that is killed in the middle of a backup is waited for, and the backup is whole', async () => {
  await using server = await startServer(['--workers', '1', '--listen', `127.0.0.1:${await freePort()}`]);
  const place = temporaryDirectory();
  const files = temporaryDirectory();
  for (let i = 0; i < 60; i += 1)
    execFileSync('dd', ['if=/dev/urandom', `of=${files}/${i}`, 'bs=1M', 'count=1'], { stdio: 'ignore' });
  await server.run(['submit', '--input', files, '--wait', '--', 'true']);
  const taking = server.start(['backup', place]);
  await waitUntil(
    'something arrived',
    () => existsSync(path.join(place, 'blobs')) && readdirSync(path.join(place, 'blobs')).length > 3,
  );
  await server.kill('SIGKILL');
  await server.restart();
  expect(await taking.done).toMatchObject({ code: 0 });
  expect((await server.run(['backup', 'verify', place])).code).toBe(0);
});

describe('a project', () => {
  test('is exported while it runs, and imported under a new name, here and at another server', async () => {
    await using server = await startServer(['--workers', '2']);
    await using other = await startServer(['--workers', '1']);
    await submitted(other, ['--wait', '--', 'true']);
    await server.run(['project', 'create', 'first']);
    const gate = path.join(temporaryDirectory(), 'gate');
    const first = await submitted(server, [
      '-p',
      'first',
      '--array',
      '1-3',
      '--output',
      'out.txt',
      '--wait',
      '--',
      'sh',
      '-c',
      'echo {index}; echo {index} > out.txt',
    ]);
    const open = await submitted(server, ['-p', 'first', '--output', 'out.txt', '--', ...gated(gate)]);
    const next = await submitted(server, ['-p', 'first', '--after', String(open), '--', 'true']);
    const file = path.join(temporaryDirectory(), 'first.zip');
    await server.json(['project', 'export', 'first', file]);
    writeFileSync(gate, '');
    for (const at of [server, other]) {
      const reply = await at.json<{ submissions: { from: number; to: number }[]; cancelled: number; tasks: number }>([
        'project',
        'import',
        file,
        'second',
      ]);
      expect(reply).toMatchObject({ cancelled: 2, tasks: 5 });
      const to = (from: number) => reply.submissions.find((one) => one.from === from)?.to as number;
      const directory = temporaryDirectory();
      expect((await at.run(['results', String(to(first)), '--to', directory])).code).toBe(0);
      expect(readFileSync(path.join(directory, '3', 'out.txt'), 'utf8')).toBe('3\n');
      expect((await at.run(['logs', `${to(first)}.2`])).stdout).toContain('2\n');
      expect((await tasksOf(at, to(next))).map(({ state }) => state)).toEqual(['cancelled']);
      await at.run(['retry', String(to(open)), String(to(next))]);
      await waitUntil('both run here', async () =>
        (await tasksOf(at, to(next))).every(({ state }) => state === 'succeeded'),
      );
      const refused = await at.run(['project', 'import', file, 'second']);
      expect(refused.stderr).toContain("there is a project 'second' already");
    }
    await waitUntil('the original went on', async () =>
      (await tasksOf(server, next)).every(({ state }) => state === 'succeeded'),
    );
    const projects = await server.json<{ name: string }[]>(['project', 'list']);
    expect(projects.map(({ name }) => name)).toEqual(['default', 'first', 'second']);
  });

  test('brings jobs, jobs of services and documents along: under their numbers, with new identities', async () => {
    await using server = await startServer();
    const client = clientOf(server);
    const site = { name: 'cluster' };
    const params = { project: 'default', service: 'fold' };
    await client.call(routes.createJob, {
      params: { project: 'default' },
      body: { name: 'one', spec: { command: ['true'], site } },
    });
    await client.call(routes.hostService, {
      params,
      body: {
        host: { host: 'here', process: 'one', pid: 1, version: 'test' },
        title: null,
        parameters: { type: 'object', properties: { n: { type: 'integer' } } },
        incoming: null,
        archiveSeconds: null,
        expireSeconds: null,
      },
    });
    await client.call(routes.createServiceJob, {
      params,
      body: { parameters: { n: 7 }, contact: 'somebody@example.org' },
    });
    const token = adminToken(server);
    await raw(server, 'PUT /couchdb/default/token_1', {
      token,
      body: JSON.stringify({ type: 'token', lock: 0, done: 0, input: 'x' }),
    });
    await raw(server, 'PUT /couchdb/default/notes', { token, body: JSON.stringify({ text: 'kept' }) });
    const file = path.join(temporaryDirectory(), 'default.zip');
    await server.json(['project', 'export', 'default', file]);
    expect(await server.json(['project', 'import', file, 'second'])).toMatchObject({
      jobs: 2,
      // The views that PiCaS clients look through are one.
      documents: 3,
      cancelled: 2,
    });
    const jobs = async (project: string) => (await client.call(routes.jobs, { params: { project } })).jobs;
    const [before, after] = [await jobs('default'), await jobs('second')];
    const numbers = (of: typeof before) => of.map(({ number }) => number).sort();
    expect(numbers(after)).toEqual(numbers(before));
    expect(after.map(({ state }) => state).sort()).toEqual(['CANCELLED', 'FAILED']);
    expect(after.filter(({ uid }) => before.some((one) => one.uid === uid))).toEqual([]);
    const get = async (document: string) => (await raw(server, `GET /couchdb/second/${document}`, { token })).json();
    expect(await get('notes')).toMatchObject({ text: 'kept' });
    expect(await get('token_1')).toMatchObject({ type: 'token', input: 'x' });
  });

  test('of a project that lost a file on the way can be imported, without that file', async () => {
    await using server = await startServer(['--workers', '1']);
    const command = withOutput('1-2', 'seq {index} 20000 > out.txt');
    const id = await submitted(server, command);
    const [lost] = blobsOf(server);
    rmSync(lost as string);
    const file = path.join(temporaryDirectory(), 'default.zip');
    expect((await server.run(['project', 'export', 'default', file])).stderr).toContain('lost 1 file');
    const reply = await server.json<{ submissions: { from: number; to: number }[] }>([
      'project',
      'import',
      file,
      'second',
    ]);
    const to = reply.submissions.find(({ from }) => from === id)?.to as number;
    const task = (at: number) => server.run(['results', `${to}.${at}`, '--to', temporaryDirectory()]);
    const codes = [(await task(1)).code, (await task(2)).code];
    expect(codes.toSorted()).toEqual([0, 1]);
  });

  test('that does not fit under the quota is not brought in, nor is anything of it', async () => {
    await using server = await startServer(['--workers', '1']);
    await submitted(server, ['--output', 'out.txt', '--wait', '--', 'sh', '-c', 'seq 20000 > out.txt']);
    const file = path.join(temporaryDirectory(), 'default.zip');
    await server.json(['project', 'export', 'default', file]);
    const borrowed = await server.run(['project', 'import', file, '@some/name']);
    expect([borrowed.code, borrowed.stderr]).toEqual([2, expect.stringContaining("begin with '@'")]);
    const refused = await server.run(['project', 'import', file, 'small', '--quota', '10KiB']);
    expect(refused.stderr).toContain('a larger --quota');
    expect(refused.stderr).toContain('do not fit');
    const projects = await clientOf(server).call(routes.projects);
    expect(projects.map(({ name }) => name)).not.toContain('small');
  });
});
