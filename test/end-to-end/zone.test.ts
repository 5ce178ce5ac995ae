import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { uploadFile } from '../../src/ground/client/upload.ts';
import { routes } from '../../src/ground/protocol/routes.ts';
import { clientOf } from '../support/api.ts';
import { type NetHost, type Netlab, skipWithoutNetwork, startNetlab } from '../support/netlab.ts';
import { startCommand } from '../support/running-server.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

const MEBI = 1024 * 1024;

/** A server on a machine of its own, and a worker with a cache of its own on each of the others. */
const startCluster = async (count: number, bitsPerSecond: number) => {
  const net: Netlab = startNetlab(count + 1);
  const [where, ...nodes] = net.hosts as [NetHost, ...NetHost[]];
  for (const host of net.hosts) host.limit(bitsPerSecond);
  const data = temporaryDirectory();
  const start = (argv: readonly string[], host: NetHost) => {
    const running = startCommand(argv, { exec: host.exec });
    onTestFinished(async () => {
      running.child.kill('SIGKILL');
      await running.done;
    });
    return running;
  };
  const server = start(['serve', '--data', data, '--listen', `${where.address}:0`, '--insecure'], where);
  await waitUntil('it serves', () => {
    if (server.child.exitCode !== null) throw new Error(server.stderr());
    return server.stdout().includes('serves at');
  });
  const url = () => (JSON.parse(readFileSync(path.join(data, 'server.json'), 'utf8')) as { url: string }).url;
  const client = clientOf({ data, url });
  const worker = (host: NetHost, ...flags: string[]) => {
    const cache = temporaryDirectory();
    const always = [
      '--server',
      url(),
      '--token-file',
      path.join(data, 'admin-token'),
      '--slots',
      '1',
      '--cache',
      cache,
    ];
    return { cache, ...start(['worker', ...always, ...flags], host) };
  };
  const welcomed = (workers: number) =>
    waitUntil('all workers', async () => (await client.call(routes.workers)).length === workers, 60);
  const upload = async (size: number) => {
    const file = path.join(temporaryDirectory(), 'input');
    writeFileSync(file, randomBytes(size));
    return uploadFile({ client, project: 'default' }, file);
  };
  /** So many tasks with this input: seconds until all have succeeded, and bytes that left the server meanwhile. */
  const runAll = async (tasks: number, digest: string) => {
    const [before, begun] = [where.bytes().out, performance.now()];
    const spec = { command: ['test', '-s', 'x'], inputs: [{ name: 'x', digest, kind: 'file' as const }] };
    const body = { steps: [{ spec, array: { first: 1, last: tasks, step: 1 } }] };
    const id = (await client.call(routes.submit, { body })).submissions[0]?.id as number;
    const query = { waitSeconds: 50, finishedOnly: true };
    const done = await waitUntil(
      'the end',
      async () => {
        const seen = await client.call(routes.submission, { params: { id }, query });
        return seen.finished && seen;
      },
      200,
    );
    expect(done.counts.succeeded).toBe(tasks);
    return { seconds: (performance.now() - begun) / 1000, bytes: where.bytes().out - before };
  };
  onTestFinished(() => client.close());
  return { server: where, nodes, client, worker, welcomed, upload, runAll };
};

test('an input for eight machines of a zone leaves the server once, and takes hardly longer than one copy', async ({
  skip,
}) => {
  skipWithoutNetwork(skip);
  const size = 64 * MEBI;
  const { nodes, worker, welcomed, upload, runAll } = await startCluster(8, 60e6);
  for (const node of nodes) worker(node, '--zone', 'hall');
  await welcomed(8);
  const [alone, shared] = [await upload(size), await upload(size)];
  const one = await runAll(1, alone.digest);
  const all = await runAll(8, shared.digest);
  const figures = { copies: all.bytes / size, times: all.seconds / one.seconds, oneCopy: one.seconds };
  process.stdout.write(`zone of 8, ${size / MEBI} MiB: ${JSON.stringify(figures)}\n`);
  expect(figures.copies).toBeLessThanOrEqual(1.05);
  expect(figures.times).toBeLessThanOrEqual(2);
});

test('a machine of the zone that dies while it feeds others costs them nothing but time', async ({ skip }) => {
  skipWithoutNetwork(skip);
  const size = 48 * MEBI;
  const { nodes, server, client, worker, welcomed, upload } = await startCluster(3, 80e6);
  const workers = nodes.map((node) => worker(node, '--zone', 'hall'));
  await welcomed(3);
  const { digest } = await upload(size);
  const before = server.bytes().out;
  const spec = { command: ['sha256sum', 'x'], inputs: [{ name: 'x', digest, kind: 'file' as const }] };
  await client.call(routes.submit, { body: { steps: [{ spec, array: { first: 1, last: 3, step: 1 } }] } });
  await waitUntil('half of it has come to all', () => nodes.every((node) => node.bytes().in > size / 2), 60);
  const [feeding] = nodes.map((node, at) => ({ node, at, out: node.bytes().out })).sort((a, b) => b.out - a.out);
  feeding?.node.cut();
  const others = workers.filter((_, at) => at !== feeding?.at);
  const whole = ({ cache }: { cache: string }) => {
    const file = path.join(cache, 'cache/blobs', digest);
    return isThere(file) && createHash('sha256').update(readFileSync(file)).digest('hex') === digest;
  };
  await waitUntil('the others have it', () => others.every(whole), 120);
  expect((server.bytes().out - before) / size).toBeLessThan(2.2);
});

function isThere(file: string): boolean {
  try {
    return readFileSync(file).length > 0;
  } catch {
    return false;
  }
}
