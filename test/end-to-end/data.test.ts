import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  existsSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type CuttingProxy, startCuttingProxy } from '../support/cutting-proxy.ts';
import { freePort } from '../support/free-port.ts';
import { type Ran, type Running, type RunningServer, startCommand, startServer } from '../support/running-server.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

const MIB = 1024 * 1024;

let pool: RunningServer;
beforeAll(async () => {
  // As `bin/pilotage` starts it.
  process.env.NODE_OPTIONS = '--max-semi-space-size=4';
  pool = await startServer(['--workers', '1', '--listen', `127.0.0.1:${await freePort()}`]);
});
afterAll(() => pool[Symbol.asyncDispose]());

async function proxied(): Promise<CuttingProxy> {
  const proxy = await startCuttingProxy(pool.url());
  onTestFinished(() => proxy.close());
  return proxy;
}

/** The words that lead a command through a proxy. */
const through = (proxy: CuttingProxy): string[] => [
  '--server',
  proxy.url,
  '--token-file',
  path.join(pool.data, 'admin-token'),
];

function idOf({ code, stdout, stderr }: Ran): string {
  if (code !== 0) throw new Error(`the command ended with ${code}: ${stderr}`);
  return /submission (\d+)/.exec(stdout)?.[1] as string;
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describe('inputs and outputs', () => {
  test('keep their names, whatever is in them, their modes and their links', async () => {
    const odd = ['new\nline', "quo'te", 'dou"ble', 'back\\slash', ' space', 'ü€😀'];
    const cwd = temporaryDirectory({ 'line\nbreak.txt': 'alone', "it's.txt": 'quoted' });
    mkdirSync(path.join(cwd, 'data/empty'), { recursive: true });
    for (const name of odd) writeFileSync(path.join(cwd, 'data', name), name);
    writeFileSync(path.join(cwd, 'data/run.sh'), '#!/bin/sh\necho ran', { mode: 0o755 });
    symlinkSync('run.sh', path.join(cwd, 'data/link'));
    const script = './data/link > "the\nresult.txt"; cp -a data back; cat *.txt';
    const inputs = ['data', 'line\nbreak.txt', "it's.txt"].flatMap((name) => ['--input', name]);
    const outputs = ['--output', 'back', '--output', '*result.txt'];
    const submitted = await pool.run(['submit', ...inputs, ...outputs, '--wait', '--', 'sh', '-c', script], { cwd });
    const id = idOf(submitted);
    const to = path.join(cwd, 'to');
    const fetched = await pool.json<{ name: string }[]>(['results', `${id}.1`, '--to', to]);
    expect(fetched.map(({ name }) => name).sort()).toEqual(['back', 'the\nresult.txt']);
    expect(readFileSync(path.join(to, 'the\nresult.txt'), 'utf8')).toBe('ran\n');
    expect(readdirSync(path.join(to, 'back')).sort()).toEqual([...odd, 'empty', 'link', 'run.sh'].sort());
    for (const name of odd) expect(readFileSync(path.join(to, 'back', name), 'utf8')).toBe(name);
    expect(lstatSync(path.join(to, 'back/run.sh')).mode & 0o777).toBe(0o755);
    expect(readlinkSync(path.join(to, 'back/link'))).toBe('run.sh');
  });

  test('keep their permissions there and back, also below a narrow umask', async () => {
    const cwd = temporaryDirectory({ key: 'secret', 'data/open': 'x' });
    chmodSync(path.join(cwd, 'key'), 0o600);
    chmodSync(path.join(cwd, 'data/open'), 0o664);
    chmodSync(path.join(cwd, 'data'), 0o750);
    const script = 'stat -c "%a %n" key data data/open; cp -a data back; chmod 400 key';
    const submit = ['submit', '--input', 'key', '--input', 'data', '--output', 'back', '--output', 'key'];
    const id = idOf(await pool.run([...submit, '--wait', '--', 'sh', '-c', script], { cwd }));
    expect((await pool.run(['logs', `${id}.1`])).stdout).toBe('600 key\n750 data\n664 data/open\n');
    for (const _ of ['new', 'there already']) {
      await pool.run(['results', `${id}.1`, '--to', 'to'], { cwd, exec: ['sh', '-c', 'umask 077; exec "$0" "$@"'] });
      const modes = ['key', 'back', 'back/open'].map((name) => statSync(path.join(cwd, 'to', name)).mode & 0o777);
      expect(modes).toEqual([0o400, 0o750, 0o664]);
      chmodSync(path.join(cwd, 'to/key'), 0o666);
    }
  });

  test('of an array come into a directory for each task, or those of a name pattern alone', async () => {
    const cwd = temporaryDirectory();
    const script = 'echo $0 > res-$0.txt; echo log > run.log; mkdir deep; echo deep > deep/res.dat';
    const outputs = ['res-{index}.txt', 'run.log', 'deep'].flatMap((name) => ['--output', name]);
    const submit = ['submit', '--array', '1-3', ...outputs, '--wait', '--', 'sh', '-c', script, '{index}'];
    const id = idOf(await pool.run(submit, { cwd }));
    expect((await pool.run(['results', id, '--to', 'all'], { cwd })).stdout).toMatch(/^9 files in all/);
    expect(readFileSync(path.join(cwd, 'all/2/res-2.txt'), 'utf8')).toBe('2\n');
    expect(readFileSync(path.join(cwd, 'all/3/deep/res.dat'), 'utf8')).toBe('deep\n');
    expect((await pool.run(['results', id, '--to', 'some', '--name', 'res-*'], { cwd })).stdout).toMatch(/^3 files/);
    expect(readdirSync(path.join(cwd, 'some'), { recursive: true }).sort()).toEqual(
      ['1', '1/res-1.txt', '2', '2/res-2.txt', '3', '3/res-3.txt'].sort(),
    );
  });

  test('whose names are not UTF-8 are refused, readable, before a task is made', async () => {
    const cwd = temporaryDirectory();
    mkdirSync(path.join(cwd, 'data'));
    writeFileSync(Buffer.concat([Buffer.from(path.join(cwd, 'data/caf')), Buffer.from([0xe9])]), 'x');
    for (const input of ['data', 'data/*']) {
      const { code, stderr } = await pool.run(['submit', '--input', input, '--', 'true'], { cwd });
      expect(code).toBe(2);
      expect(stderr).toMatch(/caf(\\xe9|\uFFFD)' is not UTF-8 and cannot be kept: rename it/);
    }
  });

  test('that cannot be fetched are named', async () => {
    const cwd = temporaryDirectory({ blocked: 'not a directory' });
    const submit = ['submit', '--output', 'out.txt', '--wait', '--', 'sh', '-c', 'echo x > out.txt'];
    const id = idOf(await pool.run(submit, { cwd }));
    mkdirSync(path.join(cwd, 'to/out.txt'), { recursive: true });
    const { code, stderr } = await pool.run(['results', `${id}.1`, '--to', 'to'], { cwd });
    expect(code).toBe(1);
    expect(stderr).toMatch(new RegExp(`'out.txt' of task ${id}.1 could not be fetched`));
    expect(readdirSync(path.join(cwd, 'to'))).toEqual(['out.txt']);
  });
});

describe('transfers', () => {
  const script = 'sha256sum large | cut -c1-64 > sum';
  const submitLarge = ['submit', '--input', 'large', '--output', 'sum', '--wait', '--', 'sh', '-c', script];
  const large = (size: number): { cwd: string; bytes: Buffer } => {
    const cwd = temporaryDirectory();
    const bytes = randomBytes(size);
    writeFileSync(path.join(cwd, 'large'), bytes);
    return { cwd, bytes };
  };
  const sumOf = async (id: string, cwd: string): Promise<string> => {
    await pool.run(['results', `${id}.1`, '--to', 'got'], { cwd });
    return readFileSync(path.join(cwd, 'got/sum'), 'utf8').trim();
  };

  test('that are cut off go on where they were, up and down', async () => {
    const { cwd, bytes } = large(60 * MIB);
    const proxy = await proxied();
    proxy.cutAfter(40 * MIB, 'up');
    const keep = ['--input', 'large', '--output', 'large', '--wait', '--', 'true'];
    const submitted = await pool.run([...through(proxy), 'submit', ...keep], { cwd });
    const id = idOf(submitted);
    expect(submitted.stderr).toMatch(/trying again[\s\S]*the server answers again/);
    expect(proxy.cuts).toBe(1);
    expect(proxy.up).toBeLessThan(70 * MIB);
    proxy.cutAfter(40 * MIB, 'down');
    const before = proxy.down;
    await pool.run([...through(proxy), 'results', `${id}.1`, '--to', 'got'], { cwd });
    expect(proxy.cuts).toBe(2);
    expect(proxy.down - before).toBeLessThan(70 * MIB);
    expect(readFileSync(path.join(cwd, 'got/large')).equals(bytes)).toBe(true);
  });

  test('go on after the server was killed in the middle', async () => {
    const { cwd, bytes } = large(300 * MIB);
    const command = pool.start(submitLarge, { cwd });
    const incoming = path.join(pool.data, 'blobs/incoming');
    await waitUntil('a part of the upload to be there', () =>
      readdirSync(incoming).some((name) => name.startsWith(sha256(bytes)) && isLongerThan(incoming, name, 20 * MIB)),
    );
    await pool.kill();
    const [part] = readdirSync(incoming).map((name) => path.join(incoming, name));
    const { ino, size } = statSync(part as string);
    expect(size).toBeLessThan(300 * MIB);
    await pool.restart();
    // It is the same file that becomes the blob.
    const digest = sha256(bytes);
    const blob = path.join(pool.data, 'blobs', digest.slice(0, 2), digest.slice(2));
    expect(await sumOf(idOf(await command.done), cwd)).toBe(digest);
    expect(statSync(blob).ino).toBe(ino);
    expect(readdirSync(incoming)).toEqual([]);
  });

  test('over quota are refused before a byte is sent', async () => {
    const { cwd } = large(20 * MIB);
    const proxy = await proxied();
    await pool.run(['project', 'create', 'small']);
    const { code: set, stderr: why } = await pool.run(['project', 'quota', 'small', '1MiB']);
    expect(why).toBe('');
    expect(set).toBe(0);
    const submit = ['submit', '--project', 'small', '--input', 'large', '--', 'true'];
    const { code, stderr } = await pool.run([...through(proxy), ...submit], { cwd });
    expect(code).toBe(1);
    expect(stderr).toMatch(/20 MiB more do not fit into project 'small'/);
    expect(proxy.up).toBeLessThan(10_000);
  });

  test('of a file that was edited keeping its size and time bring the edit', async () => {
    const cwd = temporaryDirectory({ 'in.txt': 'one', HOME: '' });
    const env = { HOME: path.join(cwd, 'home'), XDG_CACHE_HOME: '' };
    const file = path.join(cwd, 'in.txt');
    const run = async (to: string): Promise<string> => {
      const submit = ['submit', '--input', 'in.txt', '--output', 'out', '--wait', '--', 'cp', 'in.txt', 'out'];
      const id = idOf(await pool.run(submit, { cwd, env }));
      await pool.run(['results', `${id}.1`, '--to', to], { cwd });
      return readFileSync(path.join(cwd, to, 'out'), 'utf8');
    };
    const { mtime, ctimeMs } = statSync(file);
    await waitUntil('the file to be old enough to be trusted', () => Date.now() - ctimeMs > 2100);
    expect(await run('first')).toBe('one');
    expect(existsSync(path.join(cwd, 'home/.cache/pilotage/hashes'))).toBe(true);
    writeFileSync(file, 'two');
    utimesSync(file, mtime, mtime);
    expect(await run('second')).toBe('two');
  });

  test('over TLS bring the same bytes, large and small', async () => {
    const [data, cwd] = [temporaryDirectory(), temporaryDirectory({ 'in/small': 'x' })];
    const large = randomBytes(80 * MIB);
    writeFileSync(path.join(cwd, 'in/large'), large);
    const env = { PILOTAGE_DATA: data };
    const flags = ['--listen', '127.0.0.1:0', '--tls-self-made', '--workers', '1'];
    const server = startCommand(['serve', '--data', data, ...flags], {});
    onTestFinished(async () => {
      server.child.kill('SIGTERM');
      await server.done;
    });
    await waitUntil('it serves', () => server.stdout().includes('serves at https://'));
    const argv = ['submit', '-i', 'in', '-o', 'out', '--wait', '--', 'cp', '-r', 'in', 'out'];
    const submitted = await startCommand(argv, { cwd, env }).done;
    expect([submitted.code, submitted.stderr]).toEqual([0, submitted.stderr]);
    expect((await startCommand(['results', '1.1', '--to', 'got'], { cwd, env }).done).code).toBe(0);
    expect(readFileSync(path.join(cwd, 'got/out/large')).equals(large)).toBe(true);
  });

  test('of 1 GiB take less than 200 MB of memory at either side', async () => {
    const cwd = temporaryDirectory();
    const handle = openSync(path.join(cwd, 'large'), 'w');
    ftruncateSync(handle, 1024 * MIB);
    closeSync(handle);
    const up = await peakOf(
      pool.start(['submit', '--input', 'large', '--output', 'large', '--wait', '--', 'true'], { cwd }),
    );
    const down = await peakOf(pool.start(['results', `${idOf(up.ran)}.1`, '--to', 'got'], { cwd }));
    expect(statSync(path.join(cwd, 'got/large')).size).toBe(1024 * MIB);
    const { pid } = JSON.parse(readFileSync(path.join(pool.data, 'server.json'), 'utf8')) as { pid: number };
    for (const peak of [up.peakMb, down.peakMb, peakMbOf(pid)]) {
      expect(peak).toBeGreaterThan(10);
      expect(peak).toBeLessThan(200);
    }
  });
});

function isLongerThan(directory: string, name: string, bytes: number): boolean {
  return statSync(path.join(directory, name)).size > bytes;
}

/** Runs a command to its end; with the most memory that it was seen to have had. */
async function peakOf(command: Running): Promise<{ ran: Ran; peakMb: number }> {
  let peakMb = 0;
  const watch = setInterval(() => {
    peakMb = Math.max(peakMb, peakMbOf(command.child.pid as number));
  }, 10);
  const ran = await command.done;
  clearInterval(watch);
  return { ran, peakMb };
}

function peakMbOf(pid: number): number {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}
