import { chmodSync, mkdirSync, readFileSync, readlinkSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { type LifeStep, moveDirectory, removeJobDirectory } from '../../../src/worker/service/move-directory.ts';
import { namesIn } from '../../support/service-home.ts';
import { smallDisk } from '../../support/small-disk.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const NAME = 'job-7-0123abcd';
const CRASH = new Error('killed here');

/** What can be seen of a job's directory. */
function fill(directory: string): void {
  mkdirSync(path.join(directory, 'sub', 'deep'), { recursive: true });
  writeFileSync(path.join(directory, 'a file with \'quotes\' $(and) "more"\n'), 'data');
  writeFileSync(path.join(directory, 'sub', 'deep', 'run.sh'), '#!/bin/sh\n', { mode: 0o750 });
  symlinkSync('/nowhere/at/all', path.join(directory, 'link'));
}

function expectWhole(directory: string): void {
  expect(namesIn(directory)).toEqual(['a file with \'quotes\' $(and) "more"\n', 'link', 'sub']);
  expect(readFileSync(path.join(directory, 'a file with \'quotes\' $(and) "more"\n'), 'utf8')).toBe('data');
  expect(statSync(path.join(directory, 'sub', 'deep', 'run.sh')).mode & 0o777).toBe(0o750);
  expect(readlinkSync(path.join(directory, 'link'))).toBe('/nowhere/at/all');
}

function crashAt(wanted: LifeStep) {
  return (step: LifeStep): void => {
    if (step === wanted) throw CRASH;
  };
}

const ONE: readonly LifeStep[] = ['begin', 'placed', 'done'];
const ACROSS: readonly LifeStep[] = ['begin', 'copied', 'placed', 'set-aside', 'removed', 'done'];

describe.each([
  ['in one file system', ONE],
  ['across file systems', ACROSS],
] as const)('a move %s', (kind, steps) => {
  const places = (skip: (reason: string) => void): { from: string; to: string } => {
    const to = kind === 'in one file system' ? temporaryDirectory() : smallDisk('4m', skip);
    return { from: path.join(temporaryDirectory(), NAME), to: path.join(to, 'below', NAME) };
  };

  test('brings all of it', async ({ skip }) => {
    const move = places(skip);
    fill(move.from);
    const seen: LifeStep[] = [];
    await moveDirectory(move, (step) => void seen.push(step));
    expect(seen).toEqual(steps);
    expectWhole(move.to);
    expect(namesIn(path.dirname(move.from))).toEqual([]);
    expect(namesIn(path.dirname(move.to))).toEqual([NAME]);
  });

  test.each(steps)('that is ended at "%s" is done when it is done again', async (step) => {
    const move = places(() => {});
    fill(move.from);
    await expect(moveDirectory(move, crashAt(step))).rejects.toBe(CRASH);
    await moveDirectory(move);
    expectWhole(move.to);
    expect(namesIn(path.dirname(move.from))).toEqual([]);
    expect(namesIn(path.dirname(move.to))).toEqual([NAME]);
    await moveDirectory(move);
    expectWhole(move.to);
  });
});

test('a directory that is gone is said to be gone, in both places', async () => {
  const [from, to] = [path.join(temporaryDirectory(), NAME), path.join(temporaryDirectory(), NAME)];
  await expect(moveDirectory({ from, to })).rejects.toThrow(/neither .* nor .*Somebody removed or renamed it/s);
});

test('a link in the place of the directory is left alone, and so is what it leads to', async () => {
  const other = temporaryDirectory({ 'precious.txt': 'mine' });
  const from = path.join(temporaryDirectory(), NAME);
  symlinkSync(other, from);
  await expect(moveDirectory({ from, to: path.join(temporaryDirectory(), NAME) })).rejects.toThrow('is a link');
  await expect(removeJobDirectory(from)).rejects.toThrow('is a link');
  expect(namesIn(other)).toEqual(['precious.txt']);
});

test('a disk that is full leaves the directory where it was, and nothing half on the other', async ({ skip }) => {
  const disk = smallDisk('256k', skip);
  const move = { from: path.join(temporaryDirectory(), NAME), to: path.join(disk, NAME) };
  fill(move.from);
  writeFileSync(path.join(move.from, 'large'), Buffer.alloc(1_000_000));
  await expect(moveDirectory(move)).rejects.toMatchObject({ code: 'ENOSPC' });
  expect(namesIn(disk)).toEqual([]);
  expect(namesIn(move.from)).toContain('large');
});

test.each(['begin', 'set-aside', 'removed', 'done'] as const)(
  'a removal that is ended at "%s" is done when it is done again',
  async (step) => {
    const directory = path.join(temporaryDirectory({ 'other/file': 'theirs' }), NAME);
    fill(directory);
    chmodSync(path.join(directory, 'sub', 'deep'), 0o500);
    await expect(removeJobDirectory(directory, crashAt(step))).rejects.toBe(CRASH);
    await removeJobDirectory(directory);
    expect(namesIn(path.dirname(directory))).toEqual(['other']);
    await removeJobDirectory(directory);
  },
);
