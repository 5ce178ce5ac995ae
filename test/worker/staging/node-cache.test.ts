import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { createClient } from '../../../src/ground/client/client.ts';
import { httpTransport } from '../../../src/ground/client/http-transport.ts';
import { type NodeCacheOptions, openNodeCache } from '../../../src/worker/staging/cache/node-cache.ts';
import { downloadFromServer } from '../../../src/worker/staging/fetch-blob.ts';
import type { CacheOrder } from '../../support/cache-process.ts';
import { memoryLog } from '../../support/memory-log.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { startTinyPool, type TinyPool } from '../../support/tiny-pool.ts';
import { waitUntil } from '../../support/wait-until.ts';

const PROCESS = fileURLToPath(new URL('../../support/cache-process.ts', import.meta.url));
const LARGE = 3_000_000;
const COPIES_BELOW = 1_000_000;

let pool: TinyPool;
let directory: string;
let log: ReturnType<typeof memoryLog>;
const cacheDirectory = () => path.join(directory, 'cache');
const blobFile = (digest: string) => path.join(cacheDirectory(), 'blobs', digest);
const { signal } = new AbortController();

beforeEach(async () => {
  directory = temporaryDirectory();
  log = memoryLog();
  const started = await startTinyPool();
  onTestFinished(() => started.close());
  pool = started;
});

const open = (options: Partial<NodeCacheOptions> = {}) => {
  const cache = openNodeCache({
    directory: cacheDirectory(),
    maxBytes: 1e12,
    log,
    copiesBelow: COPIES_BELOW,
    mayLink: false,
    ...options,
  });
  const client = createClient(httpTransport({ url: pool.url }), () => 'token');
  onTestFinished(() => {
    cache.close();
    client.close();
  });
  const fetch = (...[arriving, until]: Parameters<Parameters<typeof cache.ensure>[1]>) =>
    downloadFromServer(arriving, { client, project: 'default' }, until);
  let count = 0;
  const place = async (digest: string, wanted: object = {}) => {
    count += 1;
    const file = path.join(temporaryDirectory(), `placed-${count}`);
    await cache.place({ digest, ...wanted }, file, { fetch, signal });
    return file;
  };
  const right = async (digest: string) => digestOf(readFileSync(await place(digest))) === digest;
  return { ...cache, fetch, place, right };
};
const digestOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
const put = (size: number) => pool.put(randomBytes(size));
const downloadsOf = (digest: string) => pool.downloads.filter((one) => one.digest === digest);

const launch = (order: Partial<CacheOrder>) => {
  const sandbox = temporaryDirectory();
  const all = { url: pool.url, cache: cacheDirectory(), copiesBelow: COPIES_BELOW, mayLink: false, sandbox, ...order };
  const child = spawn(process.execPath, ['--no-warnings', PROCESS, JSON.stringify(all)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  let said = '';
  child.stdout.on('data', (piece) => {
    said += piece;
  });
  return { child, sandbox, placed: () => said.includes('placed'), ended: ended(child) };
};
const ended = (child: ChildProcess) =>
  new Promise<string | number | null>((resolve) => child.once('exit', (code, by) => resolve(by ?? code)));

/** All that is under a final name is what its name says, and nothing is left over. */
const expectConsistent = () => {
  for (const name of readdirSync(path.join(cacheDirectory(), 'blobs')))
    expect(digestOf(readFileSync(blobFile(name)))).toBe(name);
  expect(readdirSync(path.join(cacheDirectory(), 'partial'))).toEqual([]);
};

describe('several processes with one cache', () => {
  test('download each blob once, however many ask for it at once', async () => {
    const digests = [...Array.from({ length: 30 }, (_, i) => put(100 + i)), put(LARGE), put(LARGE + 1)];
    const processes = Array.from({ length: 4 }, () => launch({ digests }));
    for (const { ended: end, sandbox } of processes) {
      expect(await end).toBe(0);
      for (const digest of digests) expect(digestOf(readFileSync(path.join(sandbox, digest)))).toBe(digest);
    }
    expect(pool.downloads.map(({ digest }) => digest).sort()).toEqual([...digests].sort());
    expectConsistent();
  });

  test('one that waits goes on where the one that downloaded was killed', async () => {
    const digest = put(LARGE);
    const gate = Promise.withResolvers<void>();
    pool.sending = (_, offset) => (offset > LARGE / 2 ? gate.promise : undefined);
    const first = launch({ digests: [digest] });
    const partial = path.join(cacheDirectory(), 'partial', digest);
    await waitUntil(
      'half of it',
      () => (statSync(partial, { throwIfNoEntry: false })?.size ?? 0) > LARGE / 2 - 100_000,
    );
    const second = launch({ digests: [digest] });
    first.child.kill('SIGKILL');
    await first.ended;
    gate.resolve();
    expect(await second.ended).toBe(0);
    expect(digestOf(readFileSync(path.join(second.sandbox, digest)))).toBe(digest);
    expect(downloadsOf(digest)[1]?.start).toBeGreaterThan(LARGE / 4);
    expectConsistent();
  });

  test.each(['begun', 'received', 'verified', 'renamed', 'placing', 'placed'])(
    'a process killed when a blob is %s leaves nothing that the next one could take for right',
    async (killAt) => {
      const digests = [put(LARGE), put(1000)];
      expect(await launch({ digests, killAt }).ended).toBe('SIGKILL');
      const cache = open();
      for (const digest of digests) expect(await cache.right(digest)).toBe(true);
      expectConsistent();
      if (killAt === 'renamed' || killAt.startsWith('plac')) expect(pool.downloads.length).toBeLessThanOrEqual(3);
    },
  );

  test('a download that another attempt still waits for goes on when the first one is given up', async () => {
    const digest = put(LARGE);
    const gate = Promise.withResolvers<void>();
    pool.sending = () => gate.promise;
    const cache = open();
    const abort = new AbortController();
    const given = cache.ensure(digest, cache.fetch, abort.signal);
    const kept = cache.ensure(digest, cache.fetch, signal);
    await waitUntil('the download', () => downloadsOf(digest).length === 1);
    abort.abort();
    await expect(given).rejects.toThrow();
    gate.resolve();
    await kept;
    expect(downloadsOf(digest)).toHaveLength(1);
  });
});

describe('eviction', () => {
  test('takes what was used longest ago, and keeps the size', async () => {
    const cache = open({ maxBytes: 3500 });
    const [a, b, c, d] = [put(1000), put(1000), put(1000), put(1000)];
    for (const digest of [a, b, c]) await cache.ensure(digest, cache.fetch, signal);
    await cache.hold('x', [a]);
    await cache.release('x');
    await cache.ensure(d, cache.fetch, signal);
    expect(readdirSync(path.join(cacheDirectory(), 'blobs')).sort()).toEqual([a, c, d].sort());
  });

  test('never takes what a living process holds, says so once, and makes up for it later', async () => {
    const held = [put(2000), put(2000)];
    const other = launch({ digests: held, stay: true });
    await waitUntil('the other process holds them', other.placed);
    const cache = open({ maxBytes: 1000 });
    for (const digest of [put(500), put(500)]) await cache.ensure(digest, cache.fetch, signal);
    const files = () => readdirSync(path.join(cacheDirectory(), 'blobs'));
    for (const digest of held) expect(files()).toContain(digest);
    expect(log.lines.filter(({ text }) => text.includes('over its limit'))).toHaveLength(1);
    other.child.kill('SIGKILL');
    await other.ended;
    await waitUntil('what the dead one held goes', async () => {
      await cache.ensure(put(400), cache.fetch, signal);
      return !held.some((digest) => files().includes(digest));
    });
  });

  test('a half-arrived blob that nobody wants any more goes with the rest that is not in use', async () => {
    const digest = put(LARGE);
    expect(await launch({ digests: [digest], killAt: 'received' }).ended).toBe('SIGKILL');
    const cache = open();
    expect(await cache.removeUnused()).toBe(LARGE);
    expectConsistent();
  });
});

describe('damage', () => {
  test('of a small file is found, also when size and time are as they were', async () => {
    const digest = put(1000);
    const cache = open();
    await cache.place(digest);
    flip(blobFile(digest), { keepTime: true });
    expect(await cache.right(digest)).toBe(true);
    expect(downloadsOf(digest)).toHaveLength(2);
    expect(log.lines.some(({ text }) => text.includes('was damaged'))).toBe(true);
  });

  test('of a large file is found by its time, and at the first use by a process in any case', async () => {
    const digest = put(LARGE);
    const cache = open();
    await cache.place(digest);
    flip(blobFile(digest), { keepTime: false });
    expect(await cache.right(digest)).toBe(true);
    flip(blobFile(digest), { keepTime: true });
    expect(await open().right(digest)).toBe(true);
    expect(downloadsOf(digest)).toHaveLength(3);
  });

  test('a file that was cut or removed is fetched anew', async () => {
    const [cut, gone] = [put(LARGE), put(1000)];
    const cache = open();
    for (const digest of [cut, gone]) await cache.place(digest);
    chmodSync(blobFile(cut), 0o644);
    truncateSync(blobFile(cut), 10);
    rmSync(blobFile(gone));
    for (const digest of [cut, gone]) expect(await cache.right(digest)).toBe(true);
  });

  test.each(['garbage', 'gone', 'empty', 'whole directory'])('the index is made anew when it is %s', async (how) => {
    const digests = [put(1000), put(LARGE)];
    const cache = open();
    for (const digest of digests) await cache.place(digest);
    const other = open();
    await other.hold('x', digests);
    if (how === 'whole directory') rmSync(cacheDirectory(), { recursive: true });
    for (const name of how === 'whole directory' ? [] : readdirSync(cacheDirectory())) {
      if (!name.startsWith('index')) continue;
      const file = path.join(cacheDirectory(), name);
      if (how === 'gone') rmSync(file);
      else writeFileSync(file, how === 'garbage' ? randomBytes(statSync(file).size) : '');
    }
    const fresh = open();
    const more = put(2000);
    for (const one of [cache, other, fresh])
      for (const digest of [...digests, more]) expect(await one.right(digest)).toBe(true);
    expect(downloadsOf(more)).toHaveLength(1);
    if (how !== 'whole directory') for (const digest of digests) expect(downloadsOf(digest)).toHaveLength(1);
    expectConsistent();
  });

  test('what a dead process had begun is thrown away when it was not right', async () => {
    const digest = put(LARGE);
    expect(await launch({ digests: [digest], killAt: 'received' }).ended).toBe('SIGKILL');
    flip(path.join(cacheDirectory(), 'partial', digest), { keepTime: false });
    expect(await open().right(digest)).toBe(true);
    expectConsistent();
  });

  test('bytes that are not what was asked for get no name', async () => {
    const digest = put(1000);
    pool.blobs.set(digest, Buffer.from('other'));
    await expect(open().place(digest)).rejects.toMatchObject({ code: 'digest-mismatch' });
    expectConsistent();
    expect(readdirSync(path.join(cacheDirectory(), 'blobs'))).toEqual([]);
  });
});

describe('what is put into a sandbox', () => {
  test('a large file is a hard link that cannot be written, unless it is to be writable, executable or secret', async () => {
    const digest = put(LARGE);
    const cache = open({ mayLink: true });
    const link = statSync(await cache.place(digest));
    const { ino } = statSync(blobFile(digest));
    // On a file system with reflinks it is a copy that takes no room, and may be written.
    if (link.ino === ino) expect(link.mode & 0o777).toBe(0o444);
    const writable = statSync(await cache.place(digest, { writable: true }));
    expect([writable.ino === ino, writable.mode & 0o777]).toEqual([false, 0o644]);
    const executable = statSync(await cache.place(digest, { executable: true }));
    expect([executable.ino === ino, executable.mode & 0o777]).toEqual([false, 0o755]);
    const secret = statSync(await cache.place(digest, { permissions: '600' }));
    expect([secret.ino === ino, secret.mode & 0o777]).toEqual([false, 0o600]);
  });

  test('a link that was written to all the same is noticed, as long as its sandbox is in use', async () => {
    const [digest, other] = [put(LARGE), put(LARGE + 1)];
    const cache = openNodeCache({
      directory: cacheDirectory(),
      maxBytes: 1e12,
      log,
      copiesBelow: COPIES_BELOW,
      mayLink: true,
    });
    const { fetch } = open();
    const sandbox = path.join(directory, 'sandbox');
    mkdirSync(path.join(sandbox, 'in'), { recursive: true });
    await cache.hold(sandbox, [digest, other]);
    const names = [digest, other].map((one) => path.join(sandbox, 'in', one));
    for (const [at, one] of [digest, other].entries())
      await cache.place({ digest: one }, names[at]!, { fetch, signal });
    expect(await cache.changedLinks(sandbox)).toEqual([]);
    // On a file system with reflinks both are copies of their own.
    const isLinked = statSync(names[0]!).ino === statSync(blobFile(digest)).ino;
    chmodSync(names[0]!, 0o644);
    writeFileSync(names[0]!, 'changed', { flag: 'r+' });
    expect(await cache.changedLinks(sandbox)).toEqual(isLinked ? [names[0]] : []);
    expect(await cache.changedLinks(path.join(directory, 'sand'))).toEqual([]);
    await cache.release(sandbox);
    expect(await cache.changedLinks(sandbox)).toEqual([]);
    cache.close();
  });

  test.runIf(process.getuid?.() === 0)('root gets a copy: a mode keeps it from nothing', async () => {
    const digest = put(LARGE);
    const cache = openNodeCache({ directory: cacheDirectory(), maxBytes: 1e12, log, copiesBelow: COPIES_BELOW });
    const { fetch } = open();
    const file = path.join(directory, 'placed');
    await cache.place({ digest }, file, { fetch, signal });
    cache.close();
    writeFileSync(file, 'changed', { flag: 'r+' });
    expect(digestOf(readFileSync(blobFile(digest)))).toBe(digest);
  });

  test('a small file is a copy, and what was at its place goes without being written through', async () => {
    const digest = put(1000);
    const cache = open();
    const file = await cache.place(digest);
    expect(statSync(file).mode & 0o777).toBe(0o644);
    writeFileSync(file, 'changed');
    expect(await cache.right(digest)).toBe(true);
    mkdirSync(path.join(directory, 'x'));
    await cache.place(digest);
  });
});

function flip(file: string, { keepTime }: { keepTime: boolean }): void {
  const { atimeMs, mtimeMs } = statSync(file);
  const bytes = readFileSync(file);
  bytes[500] = (bytes[500] ?? 0) ^ 0xff;
  chmodSync(file, 0o644);
  writeFileSync(file, bytes, { flag: 'r+' });
  chmodSync(file, 0o444);
  if (keepTime) utimesSync(file, atimeMs / 1000, mtimeMs / 1000);
}
