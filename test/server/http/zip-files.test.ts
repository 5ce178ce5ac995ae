import { once } from 'node:events';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { zipOf } from '../../../src/server/http/zip-files.ts';

const file = (path: string, bytes: () => Readable, size = 1) => ({
  path,
  size,
  isExecutable: false,
  open: async () => bytes(),
});
const endless = () => new Readable({ read: () => {} });

/** Names in an archive, as its local headers have them. */
function namesIn(archive: Buffer): string[] {
  const names: string[] = [];
  for (let at = archive.indexOf('PK\u0003\u0004'); at >= 0; at = archive.indexOf('PK\u0003\u0004', at + 4))
    names.push(archive.toString('utf8', at + 30, at + 30 + archive.readUInt16LE(at + 26)));
  return names;
}

test('names that mean something else on other systems are made plain, and stay apart', async () => {
  const paths = ['A:1-20.txt', '..\\up', 'a\\b', 'a_b', 'd/C:e ü'];
  const archive = await buffer(zipOf(paths.map((path) => file(path, () => Readable.from([Buffer.from('x')])))));
  expect(namesIn(archive)).toEqual(['A_1-20.txt', '.._up', 'a_b', 'a_b-2', 'd/C:e ü']);
});

test('the file under way is given back when nobody reads on, and the next is not opened', async () => {
  const first = endless();
  const opened = Promise.withResolvers<void>();
  let others = 0;
  const archive = zipOf([
    file('first', () => {
      opened.resolve();
      return first;
    }),
    file('second', () => {
      others += 1;
      return endless();
    }),
  ]);
  archive.resume();
  await opened.promise;
  archive.destroy();
  await once(first, 'close');
  expect([first.destroyed, others]).toEqual([true, 0]);
});

test('one that is opened when nobody reads any more is given back', async () => {
  const late = endless();
  const opening = Promise.withResolvers<Readable>();
  const asked = Promise.withResolvers<void>();
  const open = () => {
    asked.resolve();
    return opening.promise;
  };
  const archive = zipOf([{ path: 'late', size: 1, isExecutable: false, open }]);
  await asked.promise;
  archive.destroy();
  await once(archive, 'close');
  opening.resolve(late);
  await once(late, 'close');
});

test.each([
  ['cannot be opened', async () => Promise.reject(new Error('it is lost'))],
  ['breaks off', async () => Readable.from(brokenOff())],
])('a file that %s breaks the archive off, and nothing else', async (_what, open) => {
  const archive = zipOf([{ path: 'lost', size: 2, isExecutable: false, open }]);
  await expect(buffer(archive)).rejects.toThrow('it is lost');
});

async function* brokenOff() {
  yield Buffer.from('x');
  throw new Error('it is lost');
}
