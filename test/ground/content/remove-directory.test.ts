import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { removeDirectory } from '../../../src/ground/content/remove-directory.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const MODULE = path.join(import.meta.dirname, '../../../src/ground/content/remove-directory.ts');
const NOBODY = 65534;

test('directories that may not be written to are removed all the same, also for one who is not root', () => {
  const above = temporaryDirectory();
  const directory = path.join(above, 'work');
  mkdirSync(path.join(directory, 'a/b'), { recursive: true });
  writeFileSync(path.join(directory, 'a/b/file'), 'x');
  if (process.getuid?.() === 0) execFileSync('chown', ['-R', String(NOBODY), above]);
  for (const [name, mode] of [
    ['a/b', 0o500],
    ['a', 0o000],
  ] as const)
    chmodSync(path.join(directory, name), mode);
  const script = `const { removeDirectory } = await import(${JSON.stringify(MODULE)}); await removeDirectory(${JSON.stringify(directory)});`;
  const node = [process.execPath, '--input-type=module', '--eval', script];
  const asNobody = process.getuid?.() === 0 ? ['setpriv', `--reuid=${NOBODY}`, '--clear-groups', ...node] : node;
  const [program, ...words] = asNobody as [string, ...string[]];
  execFileSync(program, words, { stdio: 'inherit' });
  expect(existsSync(directory)).toBe(false);
});

test('what is not there is removed already', async () => {
  await removeDirectory(path.join(temporaryDirectory(), 'nothing'));
});
