import { symlinkSync } from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { createUploader } from '../../../../src/face/cli/submission/uploader.ts';
import { createClient } from '../../../../src/ground/client/client.ts';
import { httpTransport } from '../../../../src/ground/client/http-transport.ts';
import { hashBytes } from '../../../../src/ground/content/hash-file.ts';
import { openBlobs } from '../../../../src/server/blobs/blobs.ts';
import { startBlobServer } from '../../../support/blob-server.ts';
import { temporaryDirectory } from '../../../support/temporary-directory.ts';

test('a group of files is one question; what was brought before is not asked about again', async () => {
  const directory = temporaryDirectory({ a: 'A', b: 'B', 'd/c': 'C' });
  symlinkSync('b', path.join(directory, 'link'));
  const server = await startBlobServer(await openBlobs(path.join(directory, '.blobs')));
  const client = createClient(httpTransport({ url: server.url }), () => 'token');
  onTestFinished(async () => {
    client.close();
    await server.close();
  });
  const told: [number, number][] = [];
  const upload = createUploader(
    { client, project: 'default' },
    { hashCache: path.join(directory, 'hashes'), onProgress: (sent, total) => told.push([sent, total]) },
  );
  const at = (...names: string[]) => names.map((name) => path.join(directory, name));
  const [first, second] = await Promise.all([upload(at('a', 'd')), upload(at('link', 'a'))]);
  expect(server.questions).toBe(2);
  expect(first?.map(({ kind }) => kind)).toEqual(['file', 'tree']);
  expect(second?.map(({ digest }) => digest)).toEqual([hashBytes('B').digest, hashBytes('A').digest]);
  expect(await upload(at('a', 'd', 'link'))).toEqual([...(first ?? []), second?.[0]]);
  expect(server.questions).toBe(2);
  expect(server.puts.length).toBe(4);
  const [sent, total] = told.at(-1) ?? [];
  expect(sent).toBe(total);
});

test('a file that is not there, or is none, fails for those who asked for it alone', async () => {
  const directory = temporaryDirectory({ a: 'A' });
  const server = await startBlobServer(await openBlobs(path.join(directory, '.blobs')));
  const client = createClient(httpTransport({ url: server.url }), () => 'token');
  onTestFinished(async () => {
    client.close();
    await server.close();
  });
  const upload = createUploader({ client, project: 'default' });
  await expect(upload([path.join(directory, 'gone')])).rejects.toMatchObject({ code: 'ENOENT' });
  await expect(upload(['/dev/null'])).rejects.toThrow(/is a device, which cannot be kept/);
  expect((await upload([path.join(directory, 'a')]))[0]?.digest).toBe(hashBytes('A').digest);
});
