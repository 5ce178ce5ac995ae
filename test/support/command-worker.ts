import path from 'node:path';
import { onTestFinished } from 'vitest';
import type { WorkerView } from '../../src/ground/protocol/worker.ts';
import { type Running, type RunningServer, startCommand } from './running-server.ts';
import { temporaryDirectory } from './temporary-directory.ts';
import { waitUntil } from './wait-until.ts';

/** Starts `pilotage worker` for a server, waits until it is there, and ends it with the test. */
export async function startWorker(
  server: RunningServer,
  name: string,
  flags: readonly string[] = [],
  directory: string = temporaryDirectory(),
): Promise<Running> {
  const token = path.join(server.data, 'admin-token');
  const own = ['--slots', '2', '--cache', directory, '--name', name];
  const running = startCommand(['worker', '--server', server.url(), '--token-file', token, ...own, ...flags], {});
  onTestFinished(async () => {
    running.child.kill('SIGCONT');
    running.child.kill('SIGKILL');
    await running.done;
  });
  await waitUntil(`worker ${name}`, async () => {
    if (running.child.exitCode !== null) throw new Error(running.stderr());
    const workers = await server.json<WorkerView[]>(['workers']);
    return workers.some((worker) => worker.name === name && worker.state === 'alive');
  });
  return running;
}
