import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { routes } from '../../src/ground/protocol/routes.ts';
import { clientOf } from '../support/api.ts';
import { startWorker } from '../support/command-worker.ts';
import { missing, POSTGRES } from '../support/debian.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { startCommand, startServer } from '../support/running-server.ts';
import { missingS3, startS3, type TestS3 } from '../support/s3.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

const lacking = missingS3() ?? missing(POSTGRES);
let s3: TestS3;
let postgres: TestPostgres;
beforeAll(async () => {
  if (lacking === undefined) [s3, postgres] = await Promise.all([startS3(), startPostgres()]);
});
afterAll(async () => {
  await s3?.stop();
  await postgres?.stop();
});

/** A file as `--s3-file` reads it. */
const s3File = (options: object) => {
  const file = path.join(temporaryDirectory(), 's3.yaml');
  const { spoolDirectory: _spool, ...access } = options as Record<string, unknown>;
  writeFileSync(
    file,
    Object.entries(access)
      .map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`)
      .join(''),
    {
      mode: 0o600,
    },
  );
  return file;
};

test('two servers of one database share a bucket: what one takes in, the other gives out, and what nothing needs goes', async ({
  skip,
}) => {
  skip(lacking !== undefined, lacking);
  const { bucket, options } = await s3.newBucket();
  const env = { PILOTAGE_DATABASE: await postgres.newDatabase() };
  const flags = ['--blobs', `s3://${bucket}/group`, '--s3-file', s3File(options), '--blob-grace', '5s'];
  const one = await startServer(flags, env);
  const two = await startServer(flags, env);
  onTestFinished(async () => {
    await one[Symbol.asyncDispose]();
    await two[Symbol.asyncDispose]();
  });
  await startWorker(two, 'of-two');
  const cwd = temporaryDirectory({ 'in/a.txt': 'a', 'in/large': 'x'.repeat(9_000_000) });
  const submitted = await one.run(
    ['--json', 'submit', '--wait', '-i', 'in', '-o', 'out', '--', 'cp', '-r', 'in', 'out'],
    { cwd },
  );
  expect([submitted.code, submitted.stderr]).toEqual([0, submitted.stderr]);
  const { id } = JSON.parse(submitted.stdout) as { id: number };
  expect((await one.run(['results', `${id}.1`, '--to', 'got'], { cwd })).code).toBe(0);
  expect((await one.run(['results', `${id}.1`, '--to', 'got'], { cwd })).stdout).toContain('0 B fetched');
  const usage = () => clientOf(two).call(routes.projectUsage, { params: { project: 'default' } });
  expect((await usage()).blobs).toBe(3);
  await one.run(['forget', String(id)]);
  await waitUntil('the bucket is empty', async () => (await usage()).blobs === 0, 30);
});

test('a bucket that cannot be used is told at the start, and the secret is nowhere in it', async ({ skip }) => {
  skip(lacking !== undefined, lacking);
  const { options } = await s3.newBucket();
  const serve = (blobs: string, file: string) =>
    startCommand(
      ['serve', '--data', temporaryDirectory(), '--listen', '127.0.0.1:0', '--blobs', blobs, '--s3-file', file],
      {},
    ).done;
  const missingBucket = await serve('s3://not-there/x', s3File(options));
  expect(missingBucket.code).not.toBe(0);
  expect(missingBucket.stderr).toContain('s3://not-there/x');
  const loose = s3File({ ...options, secretAccessKey: 'very-secret-1' });
  const wrong = await serve('s3://not-there/x', loose);
  expect(wrong.code).not.toBe(0);
  expect(wrong.stderr + wrong.stdout).not.toContain('very-secret-1');
  const typo = path.join(temporaryDirectory(), 's3.yaml');
  writeFileSync(typo, 'endpint: x\n', { mode: 0o600 });
  expect(await serve('s3://b/x', typo)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("did you mean 'endpoint'?"),
  });
  const open = path.join(temporaryDirectory(), 's3.yaml');
  writeFileSync(open, 'endpoint: x\n', { mode: 0o644 });
  expect(await serve('s3://b/x', open)).toMatchObject({ code: 2, stderr: expect.stringContaining('chmod 600') });
});
