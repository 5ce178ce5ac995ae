import { randomBytes } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import type { Digest } from '../../../src/ground/base/digest.ts';
import { createClient } from '../../../src/ground/client/client.ts';
import { downloadFile, downloadTree } from '../../../src/ground/client/download.ts';
import type { FileStore } from '../../../src/ground/client/file-store.ts';
import { httpTransport } from '../../../src/ground/client/http-transport.ts';
import { ServerUnreachable } from '../../../src/ground/client/transport.ts';
import { uploadFile, uploadPath, uploadPaths, uploadTree } from '../../../src/ground/client/upload.ts';
import { openHashCache } from '../../../src/ground/content/hash-cache.ts';
import { hashBytes, hashFile } from '../../../src/ground/content/hash-file.ts';
import type { HashOf } from '../../../src/ground/content/scan-directory.ts';
import { type Blobs, openBlobs } from '../../../src/server/blobs/blobs.ts';
import { type BlobServer, startBlobServer } from '../../support/blob-server.ts';
import { type CuttingProxy, startCuttingProxy } from '../../support/cutting-proxy.ts';
import { smallDisk } from '../../support/small-disk.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { waitUntil } from '../../support/wait-until.ts';

const MIB = 1024 * 1024;

let directory: string;
let blobs: Blobs;
let server: BlobServer;
let proxy: CuttingProxy;
let store: FileStore;
const at = (...parts: string[]): string => path.join(directory, ...parts);

beforeEach(async () => {
  directory = temporaryDirectory();
  blobs = await openBlobs(at('.blobs'));
  server = await startBlobServer(blobs);
  proxy = await startCuttingProxy(server.url);
  const client = createClient(httpTransport({ url: proxy.url }), () => 'token');
  store = { client, project: 'default', patience: { seconds: 10 } };
  onTestFinished(async () => {
    client.close();
    await proxy.close();
    await server.close();
  });
});

async function contentOf(digest: string): Promise<Buffer> {
  return Buffer.concat(await (await blobs.get(digest as Digest)).bytes.toArray());
}

describe('an upload', () => {
  test('of many files and directories is one question, and each content travels once', async () => {
    mkdirSync(at('tree/sub'), { recursive: true });
    for (let i = 0; i < 100; i += 1) writeFileSync(at('tree/sub', `f${i}`), `content ${i % 50}`);
    writeFileSync(at('alone'), 'content 7');
    writeFileSync(at('run.sh'), '#!/bin/sh\n', { mode: 0o755 });
    const [tree, alone, run] = await uploadPaths(store, [at('tree'), at('alone'), at('run.sh')]);
    expect([tree?.kind, alone?.kind, run?.executable]).toEqual(['tree', 'file', true]);
    expect(server.questions).toBe(1);
    expect(server.puts.length).toBe(52);
    expect((await contentOf(alone?.digest as string)).toString()).toBe('content 7');
  });

  test('and a download keep permissions, whatever the umask, also when the directory is there already', async () => {
    mkdirSync(at('tree/closed'), { recursive: true });
    writeFileSync(at('tree/closed/secret'), 'x');
    writeFileSync(at('tree/plain'), 'y');
    const modes: [string, number][] = [
      ['tree/closed/secret', 0o440],
      ['tree/closed', 0o500],
      ['tree/plain', 0o644],
      ['tree', 0o710],
    ];
    for (const [name, mode] of modes) chmodSync(at(name), mode);
    const tree = await uploadTree(store, at('tree'));
    expect(tree.permissions).toBe('710');
    const umask = process.umask(0o077);
    try {
      for (const _ of [1, 2]) await downloadTree(store, tree, at('back/tree'));
    } finally {
      process.umask(umask);
    }
    for (const [name, mode] of modes) expect([name, statSync(at('back', name)).mode & 0o777]).toEqual([name, mode]);
  });

  test('of a directory in which one file of a thousand changed sends one file and the list', async () => {
    mkdirSync(at('tree'));
    for (let i = 0; i < 1000; i += 1) writeFileSync(at('tree', `f${i}`), `content ${i}`);
    const before = await uploadTree(store, at('tree'));
    server.puts.length = 0;
    expect(await uploadTree(store, at('tree'))).toEqual(before);
    expect(server.puts).toEqual([]);
    writeFileSync(at('tree/f500'), 'changed');
    const after = await uploadTree(store, at('tree'));
    expect(server.puts.map(({ digest }) => digest)).toEqual([hashBytes('changed').digest, after.digest]);
  });

  test('sends small files while a large one is still read', async () => {
    mkdirSync(at('tree'));
    for (let i = 0; i < 100; i += 1) writeFileSync(at('tree', `f${i}`), `content ${i}`);
    writeFileSync(at('tree/large'), Buffer.alloc(10 * MIB));
    const hash: HashOf = async (file) => {
      if (file.endsWith('large')) await waitUntil('the small files to be there', () => server.puts.length === 100);
      return hashFile(file);
    };
    const uploaded = await uploadPath(store, at('tree'), { hash });
    await downloadTree(store, uploaded, at('back'));
    expect(readdirSync(at('back')).length).toBe(101);
  });

  test('of small files and a large one that is over quota is refused before a byte is sent', async () => {
    mkdirSync(at('tree'));
    for (let i = 0; i < 100; i += 1) writeFileSync(at('tree', `f${i}`), `content ${i}`);
    writeFileSync(at('tree/large'), Buffer.alloc(10 * MIB));
    server.quota = MIB;
    await expect(uploadPath(store, at('tree'))).rejects.toMatchObject({ code: 'over-quota' });
    expect(server.puts).toEqual([]);
    server.quota = 100 * MIB;
    await uploadPath(store, at('tree'));
    // Only the large one is new: it would be over the quota if what is there counted once more.
    server.quota = 10 * MIB + 100_000;
    appendFileSync(at('tree/large'), 'x');
    await uploadPath(store, at('tree'));
  });

  test('over quota is refused before a byte is sent', async () => {
    writeFileSync(at('large'), Buffer.alloc(10 * MIB));
    server.quota = MIB;
    await expect(uploadFile(store, at('large'))).rejects.toMatchObject({ code: 'over-quota' });
    expect(server.puts).toEqual([]);
    expect(proxy.up).toBeLessThan(2000);
  });

  test('that is cut off goes on where it was, and sends the first part once', async () => {
    const bytes = randomBytes(40 * MIB);
    writeFileSync(at('large'), bytes);
    proxy.cutAfter(25 * MIB, 'up');
    const told: string[] = [];
    const patience = { seconds: 10, onOutage: () => told.push('away'), onReturn: () => told.push('back') };
    const { digest } = await uploadFile({ ...store, patience }, at('large'));
    expect((await contentOf(digest)).equals(bytes)).toBe(true);
    expect(proxy.cuts).toBe(1);
    expect(told).toEqual(['away', 'back']);
    expect(server.puts[1]?.offset).toBeGreaterThan(15 * MIB);
    // What was on its way when the connection broke may travel twice, and no more.
    expect(proxy.up).toBeLessThan(48 * MIB);
  });

  test('that is cut off again and again gets there, whatever its patience, as long as something moves', async () => {
    const bytes = randomBytes(30 * MIB);
    writeFileSync(at('large'), bytes);
    const cutNext = () => proxy.cutAfter(8 * MIB, 'up');
    cutNext();
    let seen = 0;
    server.before = () => {
      if (proxy.cuts > seen && seen < 2) {
        seen = proxy.cuts;
        cutNext();
      }
    };
    const { digest } = await uploadFile({ ...store, patience: { seconds: 0.1 } }, at('large'));
    expect(proxy.cuts).toBe(3);
    expect((await contentOf(digest)).equals(bytes)).toBe(true);
  });

  test('that was ended in the middle goes on there when the same file is brought again, also by a later command', async () => {
    const bytes = randomBytes(40 * MIB);
    writeFileSync(at('large'), bytes);
    const ended = new AbortController();
    const first = uploadPath({ ...store, signal: ended.signal }, at('large'), {
      onProgress: (sent) => sent > 25 * MIB && ended.abort(),
    });
    await expect(first).rejects.toThrow();
    const { digest } = await uploadFile(store, at('large'));
    expect(server.puts.at(-1)?.offset).toBeGreaterThan(10 * MIB);
    expect((await contentOf(digest)).equals(bytes)).toBe(true);
  });

  test('whose answer was lost is not sent again', async () => {
    const bytes = randomBytes(20 * MIB);
    writeFileSync(at('large'), bytes);
    // The first answer is that to the question; the 204 of the upload is cut off.
    server.before = (request) => {
      if (request.method === 'PUT') proxy.cutAfter(1, 'down');
    };
    await uploadFile(store, at('large'));
    expect(server.puts.length).toBe(1);
    expect(proxy.up).toBeLessThan(21 * MIB);
  });

  test('gives up when its patience is over, and says who did not answer', async () => {
    writeFileSync(at('large'), Buffer.alloc(20 * MIB, 'x'));
    server.before = (request) => {
      if (request.method !== 'PUT') return;
      proxy.cutAfter(MIB, 'up');
      proxy.block(true);
    };
    const since = performance.now();
    const upload = uploadFile({ ...store, patience: { seconds: 0.5 } }, at('large'));
    await expect(upload).rejects.toBeInstanceOf(ServerUnreachable);
    expect(performance.now() - since).toBeLessThan(10_000);
  });

  test('to a server that holds something else of the same upload begins anew', async () => {
    const bytes = randomBytes(30 * MIB);
    writeFileSync(at('large'), bytes);
    proxy.cutAfter(15 * MIB, 'up');
    let damaged = false;
    server.before = (request) => {
      const [part] = readdirSync(at('.blobs/incoming'));
      if (!request.url?.includes('/uploads/') || part === undefined || damaged) return;
      damaged = true;
      const file = at('.blobs/incoming', part);
      writeFileSync(file, randomBytes(statSync(file).size));
    };
    const { digest } = await uploadFile(store, at('large'));
    expect(damaged).toBe(true);
    expect((await contentOf(digest)).equals(bytes)).toBe(true);
  });

  test.each([
    ['small', 'is written to', () => writeFileSync(at('small'), 'two')],
    ['large', 'becomes shorter', () => truncateSync(at('large'), 10 * MIB)],
    ['large', 'is written to', () => writeFileSync(at('large'), Buffer.alloc(10 * MIB, 'z'), { flag: 'r+' })],
  ])('of a %s file that %s before it is sent names the file', async (name, _what, change) => {
    writeFileSync(at('small'), 'one');
    writeFileSync(at('large'), Buffer.alloc(20 * MIB, 'x'));
    server.before = (request) => {
      if (request.url?.endsWith('/missing')) change();
    };
    await expect(uploadFile(store, at(name))).rejects.toMatchObject({
      code: 'digest-mismatch',
      message: expect.stringContaining(`'${at(name)}' changed while it was uploaded`),
    });
    expect(readdirSync(at('.blobs/incoming')).length).toBeLessThan(2);
  });

  test('of a file that grows after it was hashed brings what was hashed', async () => {
    writeFileSync(at('log'), Buffer.alloc(20 * MIB, 'x'));
    server.before = () => appendFileSync(at('log'), 'more');
    const { digest } = await uploadFile(store, at('log'));
    expect((await contentOf(digest)).equals(Buffer.alloc(20 * MIB, 'x'))).toBe(true);
  });

  test('tells how far it is', async () => {
    writeFileSync(at('large'), randomBytes(20 * MIB));
    writeFileSync(at('small'), 'x');
    const told: [number, number][] = [];
    await uploadPaths(store, [at('large'), at('small')], { onProgress: (sent, total) => told.push([sent, total]) });
    expect(told.length).toBeGreaterThan(10);
    expect(told[0]).toEqual([0, 1]);
    expect(told.at(-1)).toEqual([20 * MIB + 1, 20 * MIB + 1]);
    expect(told.every(([sent], index) => index === 0 || sent >= (told[index - 1]?.[0] ?? 0))).toBe(true);
  });

  test('of two at once of the same content leaves it whole', async () => {
    const bytes = randomBytes(20 * MIB);
    writeFileSync(at('a'), bytes);
    writeFileSync(at('b'), bytes);
    const [a, b] = await Promise.all([uploadFile(store, at('a')), uploadFile(store, at('b'))]);
    expect(a).toEqual(b);
    expect((await contentOf(a.digest)).equals(bytes)).toBe(true);
  });

  test('knows what was hashed before, and finds an edit that keeps size and time', async () => {
    writeFileSync(at('x'), 'one');
    const { mtime } = statSync(at('x'));
    const now = () => Date.now() + 10_000;
    const upload = async () => {
      const cache = await openHashCache(at('hashes'), { now });
      const { digest } = await uploadFile(store, at('x'));
      const [uploaded] = await uploadPaths(store, [at('x')], { hash: cache.hash });
      await cache.save();
      expect(uploaded?.digest).toBe(digest);
      return digest;
    };
    const before = await upload();
    expect(await upload()).toBe(before);
    writeFileSync(at('x'), 'two');
    utimesSync(at('x'), mtime, mtime);
    expect(await upload()).toBe(hashBytes('two').digest);
  });
});

describe('names', () => {
  const NAMES = [
    'new\nline',
    "quo'te",
    'dou"ble',
    'back\\slash',
    ' space ',
    'tab\t',
    '-dash',
    '{brace}',
    'ü€😀',
    'a'.repeat(255),
  ];

  test('of any kind go there and back', async () => {
    mkdirSync(at('odd'));
    for (const name of NAMES) writeFileSync(at('odd', name), name);
    symlinkSync('new\nline', at('odd/li"nk\n'));
    const { digest } = await uploadTree(store, at('odd'));
    await downloadTree(store, { digest }, at('back'));
    expect(readdirSync(at('back')).sort()).toEqual([...NAMES, 'li"nk\n'].sort());
    for (const name of NAMES) {
      expect(readFileSync(at('back', name), 'utf8')).toBe(name);
      expect((await uploadFile(store, at('odd', name))).digest).toBe(hashBytes(name).digest);
    }
  });

  test('that are not UTF-8 are refused, readable, with what to do', async () => {
    mkdirSync(at('odd/sub'), { recursive: true });
    writeFileSync(Buffer.concat([Buffer.from(at('odd/sub/caf')), Buffer.from([0xe9]), Buffer.from('\n.txt')]), 'x');
    await expect(uploadTree(store, at('odd'))).rejects.toMatchObject({
      code: 'bad-request',
      message: expect.stringMatching(/sub\/caf\\xe9\\x0a\.txt' is not UTF-8.*rename it/s),
    });
    expect(server.puts).toEqual([]);
  });

  test('that are not UTF-8 where a link leads to are refused too', async () => {
    mkdirSync(at('odd'));
    symlinkSync(Buffer.from([0x66, 0xff]), at('odd/link'));
    await expect(uploadTree(store, at('odd'))).rejects.toThrow(/link -> *\/f\\xff' is not UTF-8/);
  });
});

describe('a download', () => {
  const keep = async (bytes: Buffer): Promise<string> => {
    writeFileSync(at('source'), bytes);
    return (await uploadFile(store, at('source'))).digest;
  };

  test('that is cut off goes on where it was, and fetches the first part once', async () => {
    const bytes = randomBytes(40 * MIB);
    const digest = await keep(bytes);
    const before = proxy.down;
    proxy.cutAfter(25 * MIB, 'down');
    const told: number[] = [];
    await downloadFile(store, { digest, onReceived: (size) => told.push(size) }, at('back'));
    expect(readFileSync(at('back')).equals(bytes)).toBe(true);
    expect(proxy.cuts).toBe(1);
    // What was on its way when the connection broke may travel twice, and no more.
    expect(proxy.down - before).toBeLessThan(48 * MIB);
    expect(told.at(-1)).toBe(40 * MIB);
    expect(told.every((size, index) => size > (told[index - 1] ?? 0))).toBe(true);
  });

  test('gives up when its patience is over, and leaves nothing', async () => {
    const digest = await keep(randomBytes(20 * MIB));
    mkdirSync(at('empty'));
    server.before = () => {
      proxy.cutAfter(MIB, 'down');
      proxy.block(true);
    };
    const download = downloadFile({ ...store, patience: { seconds: 0.5 } }, { digest }, at('empty/back'));
    await expect(download).rejects.toBeInstanceOf(ServerUnreachable);
    expect(readdirSync(at('empty'))).toEqual([]);
  });

  test('ends at the signal, and leaves nothing', async () => {
    const digest = await keep(randomBytes(20 * MIB));
    mkdirSync(at('empty'));
    const ending = new AbortController();
    const onReceived = () => ending.abort();
    await expect(
      downloadFile({ ...store, signal: ending.signal }, { digest, onReceived }, at('empty/back')),
    ).rejects.toThrow();
    expect(readdirSync(at('empty'))).toEqual([]);
  });

  test('onto a full disk says so at once, and leaves nothing', async ({ skip }) => {
    const disk = smallDisk('2m', skip);
    const digest = await keep(randomBytes(8 * MIB));
    await expect(downloadFile(store, { digest }, path.join(disk, 'back'))).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(readdirSync(disk)).toEqual([]);
  });

  test('of bytes that were damaged leaves nothing', async () => {
    const digest = await keep(randomBytes(MIB));
    writeFileSync(at('.blobs', digest.slice(0, 2), digest.slice(2)), randomBytes(MIB));
    await expect(downloadFile(store, { digest }, at('back'))).rejects.toMatchObject({ code: 'digest-mismatch' });
    expect(existsSync(at('back'))).toBe(false);
    expect(readdirSync(directory).sort()).toEqual(['.blobs', 'source']);
  });

  test('replaces what is there only when it is whole', async () => {
    const digest = await keep(randomBytes(20 * MIB));
    writeFileSync(at('back'), 'before');
    proxy.cutAfter(10 * MIB, 'down');
    const download = downloadFile(store, { digest }, at('back'));
    await waitUntil('the connection to be cut', () => proxy.cuts === 1);
    expect(readFileSync(at('back'), 'utf8')).toBe('before');
    await download;
    expect(statSync(at('back')).size).toBe(20 * MIB);
  });
});
