import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { routes } from '../src/ground/protocol/routes.ts';
import { finished } from './null-tasks.ts';
import { type BenchServer, exited, startServer } from './server.ts';

/** `xargs -P2 -n1 /bin/true`, processes a second. */
export async function xargsPerSecond(count: number): Promise<number> {
  const begun = performance.now();
  await exited(spawn('sh', ['-c', `seq ${count} | xargs -P2 -n1 /bin/true`], { stdio: 'ignore' }));
  return (count * 1000) / (performance.now() - begun);
}

/** Two plain Node.js spawners that do the bare per-task work and nothing else, tasks a second. */
export async function floorPerSecond(count: number): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'pilotage-floor-'));
  const begun = performance.now();
  const spawners = [1, 2].map((n) =>
    spawn(
      process.execPath,
      [join(import.meta.dirname, 'floor-spawner.mjs'), join(directory, String(n)), String(count / 2)],
      { stdio: 'ignore' },
    ),
  );
  await Promise.all(spawners.map(exited));
  const perSecond = (count * 1000) / (performance.now() - begun);
  rmSync(directory, { recursive: true });
  return perSecond;
}

/** A server with one worker of so many slots, warm. */
export async function serverWithWorker(slots: number): Promise<BenchServer> {
  const server = await startServer();
  server.start(
    'worker',
    '--server',
    server.url,
    '--token-file',
    join(server.data, 'admin-token'),
    '--slots',
    String(slots),
    '--cache',
    join(server.data, 'bench-worker'),
  );
  await finished(server.client, await submitTrue(server, 1));
  return server;
}

export async function submitTrue(server: BenchServer, count: number): Promise<number> {
  const step = { spec: { command: ['/bin/true'] }, ...(count > 1 ? { array: { first: 1, last: count } } : {}) };
  const reply = await server.client.call(routes.submit, { body: { steps: [step] } });
  return reply.submissions[0]?.id as number;
}

/** Real `/bin/true` tasks through one worker with 2 slots, from the submit to the last accepted result, tasks a second. */
export async function truePerSecond(server: BenchServer, count: number): Promise<number> {
  const begun = performance.now();
  await finished(server.client, await submitTrue(server, count));
  return (count * 1000) / (performance.now() - begun);
}

/** One task on an idle pool, submit to result, in ms. */
export async function loneTaskMs(server: BenchServer): Promise<number> {
  const begun = performance.now();
  await finished(server.client, await submitTrue(server, 1));
  return performance.now() - begun;
}
