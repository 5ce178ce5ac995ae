import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { localTransport } from '../../../src/worker/transport/local-transport.ts';
import type { Transport } from '../../../src/worker/transport/transport.ts';
import { smallDisk } from '../../support/small-disk.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { waitUntil } from '../../support/wait-until.ts';

function open(environment: Record<string, string | undefined> = process.env): Transport {
  const transport = localTransport({ environment });
  onTestFinished(() => transport.close());
  return transport;
}

test('a disk that is full is told as that, either way, and nothing is left', async ({ skip }) => {
  const small = smallDisk('1m', skip);
  const local = temporaryDirectory();
  const large = path.join(local, 'large');
  writeFileSync(large, Buffer.alloc(3_000_000, 1));
  await expect(open().put(large, path.join(small, 'there'))).rejects.toMatchObject({ code: 'storage-full' });
  await expect(open().get(large, path.join(small, 'here'))).rejects.toMatchObject({ code: 'ENOSPC' });
  await waitUntil('what was begun is removed', () => readdirSync(small).length === 0);
});

test('an existing file stays until the new one is whole', async () => {
  const local = temporaryDirectory({ new: 'new', old: 'old' });
  const stop = new AbortController();
  stop.abort();
  const [from, to] = [path.join(local, 'new'), path.join(local, 'old')];
  await expect(open().put(from, to, { signal: stop.signal })).rejects.toMatchObject({ code: 'interrupted' });
  expect(readFileSync(to, 'utf8')).toBe('old');
  await open().put(from, to);
  expect(readFileSync(to, 'utf8')).toBe('new');
});

test('scripts see the environment that was given, and a home that is missing does no harm', async () => {
  const transport = open({ PATH: process.env.PATH, HOME: '/no/such/home', GIVEN: 'yes' });
  expect((await transport.run('echo "$GIVEN $HOME"; pwd')).stdout).toBe('yes /no/such/home\n/\n');
});
