import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { CacheView } from '../../src/face/cli/context.ts';
import { startWorker } from '../support/command-worker.ts';
import { type RunningServer, startCommand, startServer } from '../support/running-server.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { startTinyPool } from '../support/tiny-pool.ts';
import { waitUntil } from '../support/wait-until.ts';

let server: RunningServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server[Symbol.asyncDispose]());

const cache = async (directory: string, ...argv: string[]) =>
  startCommand(['cache', ...argv, '--cache', directory], { env: { HOME: temporaryDirectory() } }).done;
const show = async (directory: string) => JSON.parse((await cache(directory, '--json')).stdout) as CacheView;
const inputOf = (size: number) => {
  const file = path.join(temporaryDirectory(), "a 'quoted'\nname");
  writeFileSync(file, randomBytes(size));
  return file;
};

describe('the cache of a machine', () => {
  test('is shown with what is in use and by whom, and pruned without taking that away', async () => {
    const directory = temporaryDirectory();
    const worker = await startWorker(server, 'cached', ['--cache-size', '10MB'], directory);
    const stop = path.join(temporaryDirectory(), 'stop');
    await server.run(['run', '--input', inputOf(300_000), '--', 'true']);
    await server.run([
      'submit',
      '--input',
      inputOf(500_000),
      '--',
      'sh',
      '-c',
      `until [ -e ${stop} ]; do sleep 0.1; done`,
    ]);
    const view = await waitUntil('the second is in use', async () => {
      const seen = await show(directory);
      return seen.inUse.blobs === 1 && seen.blobs === 2 && seen;
    });
    expect(view).toMatchObject({
      directory: path.join(directory, 'cache'),
      bytes: 800_000,
      limitBytes: 10_000_000,
      inUse: { blobs: 1, bytes: 500_000 },
      users: [{ pid: worker.child.pid, uses: 1, blobs: 1, arriving: 0 }],
    });
    const text = (await cache(directory)).stdout;
    expect(text).toMatch(
      /size +781\.3 KiB of 9\.5 MiB in 2 files\nin use +488\.3 KiB in 1 file\nby +process \d+: 1 file for 1 use/,
    );
    expect(JSON.parse((await cache(directory, '--list', '--json')).stdout)).toMatchObject([
      { size: 500_000, inUse: true },
      { size: 300_000, inUse: false },
    ]);
    expect((await cache(directory, 'prune', '--all')).stdout).toBe('removed 1 file, 293 KiB; 488.3 KiB stay\n');
    expect((await show(directory)).blobs).toBe(1);
    writeFileSync(stop, '');
    await waitUntil('nothing is in use', async () => (await show(directory)).inUse.blobs === 0);
    expect((await cache(directory, 'prune', '--to', '1GB')).stdout).toContain('removed 0 files');
    expect(JSON.parse((await cache(directory, 'prune', '--to', '1kB', '--json')).stdout)).toMatchObject({
      blobs: 1,
      bytes: 500_000,
      left: 0,
    });
  });

  test('serves all workers that were started with its directory: each input is downloaded once', async () => {
    const pool = await startTinyPool();
    onTestFinished(() => pool.close());
    const directory = temporaryDirectory();
    const token = path.join(temporaryDirectory(), 'token');
    writeFileSync(token, 'token\n', { mode: 0o600 });
    const flags = ['--server', pool.url, '--token-file', token, '--slots', '2', '--cache', directory];
    for (let i = 0; i < 3; i += 1) {
      const worker = startCommand(['worker', ...flags], {});
      onTestFinished(async () => {
        worker.child.kill('SIGKILL');
        await worker.done;
      });
    }
    await waitUntil('three workers', () => pool.registrations.length === 3);
    const digests = [
      pool.put(randomBytes(40_000_000)),
      ...Array.from({ length: 20 }, () => pool.put(randomBytes(500))),
    ];
    const inputs = digests.map((digest, i) => ({ name: `in/${i}`, digest, kind: 'file' as const }));
    pool.most = 2;
    const tasks = pool.submit({ command: ['sh', '-c', 'cat in/* | sha256sum'], inputs }, 12);
    const reports = await waitUntil('all reports', () => pool.reports.length === tasks.length && pool.reports, 60);
    expect(new Set(reports.map(({ outcome, stdout }) => `${outcome} ${stdout?.data}`)).size).toBe(1);
    expect(reports[0]?.outcome).toBe('succeeded');
    expect(pool.downloads.map(({ digest }) => digest).sort()).toEqual([...digests].sort());
  });

  test('that is not there is told, with what to name instead', async () => {
    const nothing = await cache(temporaryDirectory(), 'show');
    expect(nothing).toMatchObject({ code: 1, stderr: expect.stringMatching(/there is no cache in .*pilotage worker/) });
    const unclear = await cache(temporaryDirectory(), 'prune');
    expect(unclear).toMatchObject({ code: 2, stderr: expect.stringContaining('--to SIZE') });
  });
});
