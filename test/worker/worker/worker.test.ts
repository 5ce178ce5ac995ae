import { chownSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { countSleeps } from '../../support/processes.ts';
import { waitUntil } from '../../support/wait-until.ts';
import { type Bench, startBench } from '../../support/worker-harness.ts';

let bench: Bench;
beforeEach(async () => {
  bench = await startBench();
});
afterEach(() => bench.close());

describe('what a worker says of itself', () => {
  test('its resources, zone, labels, and how long it will live', async () => {
    await bench.start({
      slots: 3,
      memory: 1e9,
      gpus: 1,
      named: { license: 2 },
      zone: 'lab',
      labels: { arch: 'old' },
      wallTimeSeconds: 3600,
      projects: ['ising'],
    });
    const [said] = await waitUntil(
      'the registration',
      () => bench.pool.registrations.length > 0 && bench.pool.registrations,
    );
    expect(said).toMatchObject({
      total: { cpus: 3, memory: 1e9, gpus: 1, named: { license: 2 } },
      zone: 'lab',
      labels: { arch: 'old' },
      kinds: ['command'],
      projects: ['ising'],
    });
    expect(said?.remainingSeconds).toBeGreaterThan(3500);
    expect(said?.remainingSeconds).toBeLessThan(3600);
  });

  test('what runs is taken off what it offers', async () => {
    await bench.start({ slots: 4, memory: 1e9 });
    bench.pool.submit({ command: ['sleep', '321'], resources: { cpus: 3, memory: 4e8 } });
    const offer = await waitUntil(
      'the smaller offer',
      () => bench.pool.exchanges.findLast((exchange) => exchange.free.cpus === 1)?.free,
    );
    expect(offer).toMatchObject({ cpus: 1, memory: 6e8 });
  });
});

describe('how a worker ends by itself', () => {
  test('with nothing to do for so long', async () => {
    const worker = await bench.start({ untilIdleSeconds: 0.5 });
    const [task] = bench.pool.submit({ command: ['true'] });
    expect(await worker.done).toBe(0);
    expect(bench.pool.reports.map((report) => report.task)).toEqual([task]);
    expect(bench.pool.left).toEqual(['s1']);
  });

  test('before its wall time is over: programs are ended and handed back', async () => {
    const [task] = bench.pool.submit({ command: ['sleep', '322'] });
    const worker = await bench.start({ wallTimeSeconds: 2 });
    expect(await worker.done).toBe(0);
    expect(bench.pool.reports).toMatchObject([{ task, outcome: 'ended' }]);
    expect(countSleeps('322')).toBe(0);
  });

  test('without ever having been welcome, it says that the server could not be reached', async () => {
    bench.pool.fail = () => 'cut';
    const worker = await bench.start({ untilIdleSeconds: 0.3 });
    expect(await worker.done).toBe(3);
  });
});

describe('many short tasks', () => {
  test('are claimed ahead and reported together', async () => {
    await bench.start();
    bench.pool.submit({ command: ['true'] }, 400);
    await waitUntil('all reports', () => bench.pool.reports.length === 400, 30);
    expect(new Set(bench.pool.reports.map((report) => report.task)).size).toBe(400);
    expect(bench.pool.reports.every((report) => report.outcome === 'succeeded')).toBe(true);
    expect(Math.max(...bench.pool.exchanges.map((exchange) => exchange.ahead ?? 0))).toBeGreaterThan(2);
    expect(bench.pool.exchanges.length).toBeLessThan(350);
  });

  test('what was claimed ahead of a long task goes back uncharged', async () => {
    await bench.start({ slots: 1 });
    bench.pool.submit({ command: ['true'] }, 60);
    bench.pool.submit({ command: ['sleep', '323'] }, 1);
    const [behind] = bench.pool.submit({ command: ['true'] }, 5);
    await waitUntil('a claim behind the long one', () => bench.pool.running.has(behind as string), 30);
    const report = await bench.reportOf(behind);
    expect(report).toMatchObject({ outcome: 'released' });
  });
});

describe('a machine in trouble', () => {
  test('that cannot make sandboxes hands its tasks back and asks for none for a while', async () => {
    await bench.start();
    await waitUntil('the registration', () => bench.pool.registrations.length > 0);
    const attempts = path.join(bench.directory, 'work/1/attempts');
    rmSync(attempts, { recursive: true });
    writeFileSync(attempts, 'in the way');
    const [task] = bench.pool.submit({ command: ['true'] });
    expect(await bench.reportOf(task)).toMatchObject({
      outcome: 'released',
      message: expect.stringContaining('could not start'),
    });
    await waitUntil('silence', () => bench.pool.exchanges.at(-1)?.maxClaims === 0);
  });

  test('whose directory of attempts was cleaned away makes it again', async () => {
    await bench.start();
    await waitUntil('the registration', () => bench.pool.registrations.length > 0);
    rmSync(path.join(bench.directory, 'work/1/attempts'), { recursive: true });
    const [task] = bench.pool.submit({ command: ['true'] });
    expect(await bench.reportOf(task)).toMatchObject({ outcome: 'succeeded' });
  });
});

describe('the work directory', () => {
  test('is only for its user', async () => {
    await bench.start();
    await waitUntil('the session', () => existsSync(path.join(bench.directory, 'work/1/session.json')));
    expect(statSync(path.join(bench.directory, 'work')).mode & 0o777).toBe(0o700);
    expect(statSync(path.join(bench.directory, 'work/1/session.json')).mode & 0o777).toBe(0o600);
  });

  test.runIf(process.getuid?.() === 0)('of another user is refused', async () => {
    const theirs = path.join(bench.directory, 'theirs');
    mkdirSync(theirs);
    chownSync(theirs, 12_345, 12_345);
    await expect(bench.start({ workDirectory: theirs })).rejects.toThrow(/belongs to another user/);
  });

  test('on a network disk is refused, with the way out', async () => {
    const nfs = 0x6969;
    await expect(bench.start({ fileSystemOf: () => nfs })).rejects.toThrow(/network file system \(NFS\).*--cache/);
  });

  test('says where it feeds its zone, unless it is told not to', async () => {
    await bench.start({ zone: 'lab' });
    await bench.start({ zone: 'lab', share: { listen: { host: '127.0.0.1', port: 0 }, address: 'node7' } });
    await bench.start({ zone: 'lab', share: false });
    await bench.start();
    const said = await waitUntil(
      'all of them',
      () => bench.pool.registrations.length === 4 && bench.pool.registrations,
    );
    expect(said.map(({ share }) => share?.[0]?.replace(/\d+$/, 'PORT')).sort()).toEqual([
      'http://127.0.0.1:PORT',
      'http://node7:PORT',
      undefined,
      undefined,
    ]);
  });

  test('keeps sandboxes when asked to, and loses them at the next start', async () => {
    const worker = await bench.start({ keepSandboxes: true });
    const [task] = bench.pool.submit({ command: ['touch', 'trace'] });
    await bench.reportOf(task);
    worker.drain();
    await worker.done;
    const attempts = path.join(bench.directory, 'work/1/attempts');
    expect(readdirSync(path.join(attempts, `${task}-1/sandbox`))).toEqual(['trace']);
    await bench.start();
    expect(readdirSync(attempts)).toEqual([]);
  });
});
