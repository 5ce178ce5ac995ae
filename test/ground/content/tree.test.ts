import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Digest } from '../../../src/ground/base/digest.ts';
import { checkLinkTarget, parseSafePath, resolveInside } from '../../../src/ground/content/safe-path.ts';
import { scanDirectory } from '../../../src/ground/content/scan-directory.ts';
import { formatTree, parseTree, type TreeEntry } from '../../../src/ground/content/tree.ts';

const DIGEST = 'a'.repeat(64) as Digest;
const file = (at: string): TreeEntry => ({ path: at, mode: 'file', digest: DIGEST, size: 1 });

describe('paths', () => {
  test.each([
    ['a/b', 'a/b'],
    ['./a//b/', 'a/b'],
    ['a..b/..c', 'a..b/..c'],
  ])('%s is %s', (name, plain) => expect(parseSafePath(name)).toBe(plain));

  test.each(['', '.', '..', '../a', 'a/../b', '/etc/passwd', 'a\0b', './', 'x'.repeat(5000)])(
    '%j is refused',
    (name) => {
      expect(() => parseSafePath(name)).toThrow(/path/);
    },
  );

  test.each([
    ['a/link', '../b'],
    ['link', 'a/b'],
    ['a/b/link', '../../c'],
  ])('a link %s to %s stays inside', (at, target) => expect(() => checkLinkTarget(at, target)).not.toThrow());

  test.each([
    ['link', '../b'],
    ['link', '/etc'],
    ['a/link', '../../b'],
    ['a/link', 'x/../..'],
    ['a/link', ''],
  ])('a link %s to %s is refused', (at, target) => expect(() => checkLinkTarget(at, target)).toThrow(/link/));
});

describe('trees', () => {
  test('equal directories give equal bytes, in whatever order they were read', () => {
    const entries: TreeEntry[] = [
      file('b'),
      { path: 'a', mode: 'directory' },
      { path: 'c', mode: 'symlink', target: 'b' },
    ];
    expect(formatTree(entries)).toBe(formatTree([...entries].reverse()));
    expect(parseTree(formatTree(entries)).entries.map((entry) => entry.path)).toEqual(['a', 'b', 'c']);
  });

  test('an empty directory is a tree', () => expect(parseTree(formatTree([])).entries).toEqual([]));

  test.each([
    ['no JSON', '{'],
    ['another JSON', '{"a":1}'],
    ['a path upwards', JSON.stringify({ tree: 1, entries: [{ ...file('x'), path: '../x' }] })],
    ['a path twice', formatTree([file('x'), file('x')])],
    ['a file below a link', formatTree([{ path: 'l', mode: 'symlink', target: 'd' }, file('l/x')])],
    ['a file below a file', formatTree([file('f'), file('f/x')])],
    ['a link outside', JSON.stringify({ tree: 1, entries: [{ path: 'l', mode: 'symlink', target: '../..' }] })],
    ['a wrong digest', JSON.stringify({ tree: 1, entries: [{ ...file('x'), digest: 'zz' }] })],
    ['wrong permissions', JSON.stringify({ tree: 1, entries: [{ ...file('x'), permissions: '4755' }] })],
    ['a wrong size', JSON.stringify({ tree: 1, entries: [{ ...file('x'), size: -1 }] })],
  ])('%s is refused', (_name, text) => expect(() => parseTree(text)).toThrow());
});

describe('a directory on disk', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), 'pilotage-tree-'));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  test('is listed with modes, links and empty directories', async () => {
    mkdirSync(path.join(root, 'sub/empty'), { recursive: true });
    writeFileSync(path.join(root, 'sub/plain'), 'x');
    writeFileSync(path.join(root, 'run.sh'), 'y');
    chmodSync(path.join(root, 'run.sh'), 0o755);
    symlinkSync('sub/plain', path.join(root, 'link'));
    const entries = parseTree(formatTree(await scanDirectory(root))).entries;
    expect(entries.map((entry) => [entry.path, entry.mode])).toEqual([
      ['link', 'symlink'],
      ['run.sh', 'executable'],
      ['sub/empty', 'directory'],
      ['sub/plain', 'file'],
    ]);
  });

  test('is listed with the permissions that are not the usual ones, of directories too', async () => {
    mkdirSync(path.join(root, 'private/plain'), { recursive: true });
    writeFileSync(path.join(root, 'private/key'), 'x');
    writeFileSync(path.join(root, 'private/plain/file'), 'x');
    chmodSync(path.join(root, 'private/key'), 0o600);
    chmodSync(path.join(root, 'private'), 0o700);
    const entries = parseTree(formatTree(await scanDirectory(root))).entries;
    expect(entries).toMatchObject([
      { path: 'private', mode: 'directory', permissions: '700' },
      { path: 'private/key', mode: 'file', permissions: '600' },
      { path: 'private/plain/file', mode: 'file' },
    ]);
    expect(entries[2]).not.toHaveProperty('permissions');
  });

  test('with a link that leads outside is refused', async () => {
    symlinkSync('/etc/passwd', path.join(root, 'out'));
    await expect(scanDirectory(root)).rejects.toThrow(/link/);
  });

  test('a name is found inside, links followed, and refused when they lead outside', async () => {
    writeFileSync(path.join(root, 'real'), 'x');
    symlinkSync('real', path.join(root, 'inner'));
    symlinkSync('/etc', path.join(root, 'outer'));
    expect(await resolveInside(root, 'inner')).toMatch(/real$/);
    expect(await resolveInside(root, 'nothing')).toBeUndefined();
    await expect(resolveInside(root, 'outer/passwd')).rejects.toThrow(/leads outside/);
  });
});
