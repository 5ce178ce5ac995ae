import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { beforeEach, describe, expect, test } from 'vitest';
import { type HashCacheOptions, openHashCache } from '../../../src/ground/content/hash-cache.ts';
import { hashBytes } from '../../../src/ground/content/hash-file.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

let directory: string;
let cache: string;
const at = (name: string): string => path.join(directory, name);
const LATER = { now: () => Date.now() + 10_000 };

beforeEach(() => {
  directory = temporaryDirectory();
  cache = at('cache/hashes');
});

/** Hashes in a command of its own. */
async function hashIn(names: readonly string[], options: HashCacheOptions = LATER): Promise<string[]> {
  const hashes = await openHashCache(cache, options);
  const digests: string[] = [];
  for (const name of names) digests.push((await hashes.hash(at(name))).digest);
  await hashes.save();
  return digests;
}

/** Does the cache answer for the file? Its digest is made another one, valid by its check, to see which comes back. */
async function isKnown(name: string): Promise<boolean> {
  const key = JSON.stringify(at(name));
  const lie = 'f'.repeat(64);
  const lines = readFileSync(cache, 'utf8').split('\n');
  const lied = lines.map((line) => {
    const parts = line.split('\t');
    if (parts[0] !== key) return line;
    const facts = [...parts.slice(1, -2), lie].join('\t');
    return `${key}\t${facts}\t${crc32(`${key}\t${facts}`).toString(16)}`;
  });
  writeFileSync(at('lying'), lied.join('\n'));
  const hashes = await openHashCache(at('lying'), LATER);
  return (await hashes.hash(at(name))).digest === lie;
}

describe('a cache of digests', () => {
  test('answers for a file that did not change', async () => {
    writeFileSync(at('x'), 'one');
    writeFileSync(at('new\nline "quoted"\t'), 'two');
    await hashIn(['x', 'new\nline "quoted"\t']);
    expect(await isKnown('x')).toBe(true);
    expect(await isKnown('new\nline "quoted"\t')).toBe(true);
  });

  test.each<[string, () => void]>([
    ['was written to', () => writeFileSync(at('x'), 'longer')],
    ['was written to and has its size and times as before', () => editKeepingSizeAndTime(at('x'))],
    ['was replaced by one of the same size and times', () => replaceKeepingSizeAndTime(at('x'))],
    ['got other rights', () => chmodSync(at('x'), 0o600)],
  ])('reads a file again that %s', async (_what, change) => {
    writeFileSync(at('x'), 'one');
    await hashIn(['x']);
    change();
    expect(await isKnown('x')).toBe(false);
    expect(await hashIn(['x'])).toEqual([hashBytes(readFileSync(at('x'))).digest]);
    expect(await isKnown('x')).toBe(true);
  });

  test('does not trust a file that was written to a moment before it was hashed', async () => {
    writeFileSync(at('x'), 'one');
    await hashIn(['x'], {});
    expect(existsSync(cache)).toBe(false);
    await hashIn(['x'], { now: () => statSync(at('x')).ctimeMs + 1999 });
    expect(existsSync(cache)).toBe(false);
    await hashIn(['x'], { now: () => statSync(at('x')).ctimeMs + 2001 });
    expect(await isKnown('x')).toBe(true);
  });

  test.each<[string, () => void]>([
    ['is garbage', () => writeFileSync(cache, Buffer.alloc(10_000, 0xfe))],
    ['is cut off', () => writeFileSync(cache, readFileSync(cache).subarray(0, -20))],
    ['has a digest that was changed', () => writeFileSync(cache, changeDigest(readFileSync(cache, 'utf8')))],
    ['is a directory', () => makeDirectory(cache)],
  ])('that %s costs nothing but time', async (_what, damage) => {
    writeFileSync(at('x'), 'one');
    await hashIn(['x']);
    damage();
    expect(await hashIn(['x'])).toEqual([hashBytes('one').digest]);
    expect(await hashIn(['x'])).toEqual([hashBytes('one').digest]);
  });

  test('heals when a line was cut off in the middle', async () => {
    writeFileSync(at('x'), 'one');
    writeFileSync(at('y'), 'two');
    await hashIn(['x']);
    appendFileSync(cache, '"cut');
    await hashIn(['y']);
    expect(await isKnown('x')).toBe(true);
    expect(await isKnown('y')).toBe(true);
  });

  test('is bounded: what was learned longest ago goes first', async () => {
    const names = Array.from({ length: 30 }, (_, index) => `f${index}`);
    for (const name of names) writeFileSync(at(name), name);
    await hashIn(names.slice(0, 15), { ...LATER, maxEntries: 20 });
    await hashIn(names.slice(15), { ...LATER, maxEntries: 20 });
    expect(readFileSync(cache, 'utf8').trim().split('\n').length).toBe(20);
    expect([await isKnown('f9'), await isKnown('f10'), await isKnown('f29')]).toEqual([false, true, true]);
  });

  test('does not grow without end by one file that changes all the time', async () => {
    for (let round = 0; round < 1100; round += 1) {
      writeFileSync(at('x'), String(round));
      await hashIn(['x']);
    }
    expect(statSync(cache).size).toBeLessThan(1001 * 400);
    expect(await isKnown('x')).toBe(true);
  });
});

function editKeepingSizeAndTime(file: string): void {
  const { atime, mtime } = statSync(file);
  writeFileSync(file, 'eno');
  utimesSync(file, atime, mtime);
}

function replaceKeepingSizeAndTime(file: string): void {
  const { atime, mtime } = statSync(file);
  writeFileSync(`${file}.new`, 'eno');
  utimesSync(`${file}.new`, atime, mtime);
  renameSync(`${file}.new`, file);
}

function changeDigest(text: string): string {
  return text.replace(hashBytes('one').digest, hashBytes('two').digest);
}

function makeDirectory(file: string): void {
  rmSync(file);
  mkdirSync(file);
}
