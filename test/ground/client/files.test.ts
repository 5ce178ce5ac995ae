import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Digest } from '../../../src/ground/base/digest.ts';
import { backupCalls } from '../../../src/ground/client/backup/calls.ts';
import { createClient } from '../../../src/ground/client/client.ts';
import { downloadFile, downloadTree } from '../../../src/ground/client/download.ts';
import type { FileStore } from '../../../src/ground/client/file-store.ts';
import { httpTransport } from '../../../src/ground/client/http-transport.ts';
import { uploadFile, uploadPath, uploadTree } from '../../../src/ground/client/upload.ts';
import { formatTree, type TreeEntry } from '../../../src/ground/content/tree.ts';
import { routes } from '../../../src/ground/protocol/routes.ts';
import { workerCalls } from '../../../src/ground/protocol/worker-calls.ts';
import { startTinyPool, type TinyPool } from '../../support/tiny-pool.ts';

let pool: TinyPool;
let directory: string;
let store: FileStore;
const at = (...parts: string[]): string => path.join(directory, ...parts);

beforeEach(async () => {
  pool = await startTinyPool();
  directory = mkdtempSync(path.join(tmpdir(), 'pilotage-files-'));
  store = { client: createClient(httpTransport({ url: pool.url }), () => 'token'), project: 'default' };
});
afterEach(async () => {
  store.client.close();
  await pool.close();
  rmSync(directory, { recursive: true, force: true });
});

test('a directory comes back as it was: modes, links and empty directories', async () => {
  mkdirSync(at('from/sub/empty'), { recursive: true });
  writeFileSync(at('from/run.sh'), '#!/bin/sh\n', { mode: 0o755 });
  writeFileSync(at('from/sub/data'), Buffer.from([0, 255, 254]));
  symlinkSync('sub/data', at('from/link'));
  const { digest, size, kind } = await uploadPath(store, at('from'));
  expect({ size, kind }).toEqual({ size: 13, kind: 'tree' });
  await downloadTree(store, { digest: digest }, at('to'));
  expect(readdirSync(at('to'), { recursive: true }).sort()).toEqual(['link', 'run.sh', 'sub', 'sub/data', 'sub/empty']);
  expect(statSync(at('to/run.sh')).mode & 0o111).toBe(0o111);
  expect([...readFileSync(at('to/link'))]).toEqual([0, 255, 254]);
  expect(await uploadTree(store, at('to'))).toMatchObject({ digest });
});

test('nothing of a directory is written through a link that was there before', async () => {
  // Each of them stays inside by itself: `p` leads to where it is, and `q` stays below as long as `p` is a directory.
  const kept = pool.put('evil');
  const put = (...entries: TreeEntry[]): string => pool.put(formatTree(entries));
  const [here, up, through] = [
    put({ path: 'p', mode: 'symlink', target: '.' }),
    put({ path: 'p/p/p/q', mode: 'symlink', target: '../../../out' }),
    put({ path: 'q/evil', mode: 'file', digest: kept as Digest, size: 4 }),
  ];
  mkdirSync(at('out'));
  await downloadTree(store, { digest: here }, at('in/x'));
  await expect(downloadTree(store, { digest: up }, at('in/x'))).rejects.toThrow(
    /in\/x\/p' is no directory here, perhaps a link/,
  );
  symlinkSync('../../out', at('in/x/q'));
  await expect(downloadTree(store, { digest: through }, at('in/x'))).rejects.toThrow('in/x/q');
  expect(readdirSync(at('out'))).toEqual([]);
});

test('bytes travel once: a second upload only asks', async () => {
  writeFileSync(at('x'), 'content');
  await uploadFile(store, at('x'));
  await uploadFile(store, at('x'));
  expect(pool.uploads.length).toBe(1);
});

test('a download of other bytes than were asked for leaves nothing behind', async () => {
  writeFileSync(at('x'), 'content');
  const { digest } = await uploadFile(store, at('x'));
  pool.blobs.set(digest, Buffer.from('forged'));
  await expect(downloadFile(store, { digest }, at('y'))).rejects.toMatchObject({ code: 'digest-mismatch' });
  expect(readdirSync(directory)).toEqual(['x']);
});

test('a large file goes both ways', async () => {
  const bytes = Buffer.alloc(30_000_000, 'pilotage');
  writeFileSync(at('big'), bytes);
  const { digest, size } = await uploadFile(store, at('big'));
  expect(size).toBe(bytes.length);
  await downloadFile(store, { digest, executable: true }, at('back'));
  expect(readFileSync(at('back')).equals(bytes)).toBe(true);
});

test('the short tables of calls are those of the routes', () => {
  for (const [name, call] of [...Object.entries(workerCalls), ...Object.entries(backupCalls)]) {
    const { method, path: where } = routes[name as keyof typeof routes];
    expect({ method: call.method, path: call.path }).toEqual({ method, path: where });
  }
});
