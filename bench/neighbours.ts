import { type ChildProcess, spawn } from 'node:child_process';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { peerRoutes } from '../src/ground/protocol/peer-routes.ts';
import { routes } from '../src/ground/protocol/routes.ts';
import { finished } from './null-tasks.ts';
import { type BenchServer, exited, startServer } from './server.ts';

const BATCH = 1000;

/** A task of no process, the same for both: alternating runs, tasks a second. */
export async function borrowedThroughput(
  rounds: number,
  count: number,
): Promise<{ local: number[]; borrowed: number[] }> {
  const [local, borrowed]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round += 1) {
    local.push(await withServers(1, async ([home]) => perSecond(home as BenchServer, home as BenchServer, count)));
    borrowed.push(
      await withServers(2, async ([home, work]) => {
        await makeNeighbours(home as BenchServer, work as BenchServer);
        return perSecond(home as BenchServer, work as BenchServer, count);
      }),
    );
  }
  return { local, borrowed };
}

async function perSecond(home: BenchServer, work: BenchServer, count: number): Promise<number> {
  const worker = nullWorker(work, {});
  await finished(home.client, await submit(home, 1));
  const begun = performance.now();
  const ids: number[] = [];
  for (let sent = 0; sent < count; sent += BATCH) ids.push(await submit(home, Math.min(BATCH, count - sent)));
  for (const id of ids) await finished(home.client, id);
  const seconds = (performance.now() - begun) / 1000;
  worker.kill('SIGTERM');
  await exited(worker);
  return count / seconds;
}

/** Milliseconds from the submission to the start at the neighbour, nothing being under way before. */
export async function firstBorrowed(times: number): Promise<number[]> {
  return withServers(2, async ([home, work]) => {
    await makeNeighbours(home as BenchServer, work as BenchServer);
    const worker = nullWorker(work as BenchServer, { NULL_MS: '300' });
    await finished((home as BenchServer).client, await submit(home as BenchServer, 1));
    const starts: number[] = [];
    for (let i = 0; i < times; i += 1) {
      await pause(1500);
      const begun = performance.now();
      await finished((home as BenchServer).client, await submit(home as BenchServer, 1));
      starts.push(performance.now() - begun - 300);
    }
    worker.kill('SIGTERM');
    await exited(worker);
    return starts;
  });
}

/** A star of five servers that have nothing to do: bytes a second on each link, both ways together. */
export async function idleNetwork(seconds: number): Promise<number[]> {
  const meters = await Promise.all(Array.from({ length: 4 }, () => startMeter()));
  const args = meters.map(({ port }) => ['--peer-address', `127.0.0.1:${port}`]);
  return withServers(
    5,
    async (servers) => {
      const [hub, ...others] = servers as [BenchServer, ...BenchServer[]];
      for (const [i, other] of others.entries()) {
        const meter = meters[i] as Meter;
        meter.to = Number(new URL(other.url).port);
        await makeNeighbours(hub, other, meter.port);
      }
      await pause(10_000);
      const before = meters.map(({ bytes }) => bytes);
      await pause(seconds * 1000);
      const rates = meters.map(({ bytes }, i) => (bytes - (before[i] as number)) / seconds);
      for (const { server } of meters) server.close();
      if (rates.some((rate) => rate === 0)) throw new Error('a link does not go through its meter');
      return rates;
    },
    [['--peer-address', '127.0.0.1:1'], ...args],
  );
}

/** Tasks of a second each, over a slow link, on 16 workers: how busy these are from the first submission to the last result. */
export async function slowLink(tasks: number): Promise<{ busy: number; seconds: number; tasks: number }> {
  const meter = await startMeter(50);
  return withServers(
    2,
    async (servers) => {
      const [home, work] = servers as [BenchServer, BenchServer];
      meter.to = Number(new URL(home.url).port);
      await makeNeighbours(work, home, meter.port);
      const workers = Array.from({ length: 16 }, () => nullWorker(work, { NULL_SLOTS: '1', NULL_MS: '1000' }));
      await finished(home.client, await submit(home, 16));
      const begun = performance.now();
      const ids: number[] = [];
      for (let sent = 0; sent < tasks; sent += BATCH) ids.push(await submit(home, Math.min(BATCH, tasks - sent)));
      for (const id of ids) await finished(home.client, id);
      const seconds = (performance.now() - begun) / 1000;
      for (const worker of workers) worker.kill('SIGTERM');
      await Promise.all(workers.map(exited));
      meter.server.close();
      return { busy: tasks / (16 * seconds), seconds, tasks };
    },
    [
      ['--peer-address', `127.0.0.1:${meter.port}`],
      ['--peer-address', '127.0.0.1:1'],
    ],
  );
}

async function withServers<T>(
  count: number,
  use: (servers: BenchServer[]) => Promise<T>,
  args: readonly (readonly string[])[] = [],
): Promise<T> {
  const names = Array.from({ length: count }, (_, i) => `n${i + 1}`);
  const servers = await Promise.all(
    names.map((name, i) => startServer({ args: ['--name', name, ...(args[i] ?? [])] })),
  );
  try {
    return await use(servers);
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

/** Both know each other and have a link; `a` dials `b` at `port`, or where it listens. */
async function makeNeighbours(a: BenchServer, b: BenchServer, port?: number): Promise<void> {
  const place = { host: '127.0.0.1', port: port ?? Number(new URL(b.url).port) };
  for (;;) {
    try {
      const { id } = await a.client.call(peerRoutes.connectPeer, { body: place });
      const { self } = await a.client.call(peerRoutes.peers);
      await b.client.call(peerRoutes.trustPeer, { params: { peer: self.id } });
      for (;;) {
        const { peers } = await a.client.call(peerRoutes.peers);
        if (peers.some((peer) => peer.id === id && peer.state === 'connected')) return;
        await pause(50);
      }
    } catch (error) {
      // The servers have announced themselves, and open their doors to neighbours a moment later.
      if (!(error instanceof Error && 'code' in error && error.code === 'not-ready')) throw error;
      await pause(50);
    }
  }
}

async function submit(server: BenchServer, count: number): Promise<number> {
  const items = Array.from({ length: count }, (_, i) => ({ payload: { text: `${i}`.padEnd(220, 'x') } }));
  const reply = await server.client.call(routes.submit, { body: { steps: [{ spec: { command: ['true'] }, items }] } });
  return reply.submissions[0]?.id as number;
}

function nullWorker(server: BenchServer, env: Readonly<Record<string, string>>): ChildProcess {
  const argv = [
    '--max-semi-space-size=8',
    join(import.meta.dirname, 'null-worker.ts'),
    server.url,
    join(server.data, 'admin-token'),
  ];
  return spawn(process.execPath, argv, {
    env: { ...process.env, NULL_KIND: 'command', ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

interface Meter {
  readonly server: Server;
  readonly port: number;
  readonly bytes: number;
  to: number;
}

/** Passes connections on, counts their bytes, and keeps them for so long on each way. */
async function startMeter(delayMs = 0): Promise<Meter> {
  let bytes = 0;
  const meter = { to: 0 };
  const server = createServer((client) => {
    const upstream = connect({ port: meter.to, host: '127.0.0.1', noDelay: true });
    client.setNoDelay(true);
    for (const [from, into] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      from.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (delayMs === 0) into.write(chunk);
        else setTimeout(() => into.write(chunk), delayMs);
      });
      from.on('error', () => undefined);
      // What is on its way arrives.
      from.on('close', () => setTimeout(() => into.destroy(), 2 * delayMs));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return {
    server,
    port,
    get bytes() {
      return bytes;
    },
    get to() {
      return meter.to;
    },
    set to(next: number) {
      meter.to = next;
    },
  };
}
