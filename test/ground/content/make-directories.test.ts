import { mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { makeDirectories } from '../../../src/ground/content/make-directories.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

test('directories are made with those above them, and may be there already', async () => {
  const top = temporaryDirectory();
  const wanted = path.join(top, 'a', 'b', 'c');
  expect(await makeDirectories(wanted, 0o700)).toEqual(['a', 'a/b', 'a/b/c'].map((name) => path.join(top, name)));
  expect(await makeDirectories(wanted)).toEqual([]);
  expect(statSync(wanted).mode & 0o777).toBe(0o700);
  expect(statSync(path.join(top, 'a')).mode & 0o777).toBe(0o700);
  symlinkSync(wanted, path.join(top, 'link'));
  await makeDirectories(path.join(top, 'link'));
});

test('two at once make the same', async () => {
  const wanted = path.join(temporaryDirectory(), 'a', 'b', 'c');
  await Promise.all(Array.from({ length: 8 }, () => makeDirectories(wanted)));
  expect(statSync(wanted).isDirectory()).toBe(true);
});

test('what cannot be made is said, and not asked for ever', async () => {
  const top = temporaryDirectory();
  writeFileSync(path.join(top, 'file'), '');
  mkdirSync(path.join(top, 'real'));
  symlinkSync(path.join(top, 'nowhere', 'at-all'), path.join(top, 'dangling'));
  await expect(makeDirectories(path.join(top, 'file', 'a', 'b'))).rejects.toMatchObject({ code: 'ENOTDIR' });
  await expect(makeDirectories(path.join(top, 'file'))).rejects.toMatchObject({ code: 'EEXIST' });
  await expect(makeDirectories(path.join(top, 'dangling'))).rejects.toMatchObject({ code: 'EEXIST' });
  await expect(makeDirectories('/proc/x/y')).rejects.toMatchObject({ code: 'ENOENT' });
});
