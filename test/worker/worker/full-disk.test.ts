import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { rmSync, statfsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { smallDisk } from '../../support/small-disk.ts';
import { waitUntil } from '../../support/wait-until.ts';
import { startBench } from '../../support/worker-harness.ts';

const MEBI = 1024 * 1024;

const onSmallDisk = async (skip: (reason: string) => void) => {
  const disk = smallDisk('24m', skip);
  const bench = await startBench();
  onTestFinished(() => bench.close());
  await bench.start({ workDirectory: path.join(disk, 'work'), lookAtDiskMs: 50 });
  await waitUntil('the registration', () => bench.pool.exchanges.length > 0);
  const logged = (text: string) => bench.log.lines.filter((line) => line.text.includes(text)).length;
  const claimsNothing = () => bench.pool.exchanges.at(-1)?.maxClaims === 0;
  const input = (size: number) => {
    const digest = bench.pool.put(randomBytes(size));
    return { inputs: [{ name: 'x', digest, kind: 'file' as const }] };
  };
  return { disk, bench, logged, claimsNothing, input };
};

test('an attempt whose inputs find no room goes back uncharged, and no other is claimed until there is', async ({
  skip,
}) => {
  const { disk, bench, logged, claimsNothing, input } = await onSmallDisk(skip);
  const [task] = bench.pool.submit({ command: ['wc', '-c', 'x'], ...input(40 * MEBI) });
  const report = await bench.reportOf(task);
  expect(report).toMatchObject({
    outcome: 'released',
    message: expect.stringMatching(/disk of .*work.* full .*--cache/),
  });
  await waitUntil('it asks for nothing', claimsNothing);
  // What this attempt brought is gone again, and does not count as room.
  await waitUntil('the room is as before', () => free(disk) > 20 * MEBI);
  const [waiting] = bench.pool.submit({ command: ['wc', '-c', 'x'], ...input(30 * MEBI) });
  expect(claimsNothing()).toBe(true);
  execFileSync('mount', ['-o', 'remount,size=200m', disk]);
  expect(await bench.reportOf(waiting)).toMatchObject({ outcome: 'succeeded' });
  expect([logged('is full'), logged('has room again')]).toEqual([1, 1]);
});

test('the cache makes room for what is needed now before that', async ({ skip }) => {
  const { bench, input } = await onSmallDisk(skip);
  for (let i = 0; i < 4; i += 1) {
    const [task] = bench.pool.submit({ command: ['true'], ...input(5 * MEBI) });
    expect(await bench.reportOf(task)).toMatchObject({ outcome: 'succeeded' });
  }
});

test('a sandbox that cannot be made on a full disk is no fault of the task', async ({ skip }) => {
  const { disk, bench, logged, claimsNothing } = await onSmallDisk(skip);
  const filler = path.join(disk, 'filler');
  expect(() => writeFileSync(filler, Buffer.alloc(30 * MEBI))).toThrow(/ENOSPC/);
  const [task] = bench.pool.submit({ command: ['true'] });
  expect(await bench.reportOf(task)).toMatchObject({ outcome: 'released', message: expect.stringContaining('full') });
  await waitUntil('it asks for nothing', claimsNothing);
  rmSync(filler);
  const [next] = bench.pool.submit({ command: ['true'] });
  expect(await bench.reportOf(next)).toMatchObject({ outcome: 'succeeded' });
  expect([logged('is full'), logged('has room again')]).toEqual([1, 1]);
});

function free(disk: string): number {
  const { bavail, bsize } = statfsSync(disk);
  return bavail * bsize;
}
