import path from 'node:path';
import { onTestFinished } from 'vitest';
import { type Running, type RunningServer, startCommand } from './running-server.ts';
import { waitUntil } from './wait-until.ts';

/** Starts `pilotage service run` and waits until it hosts; it ends with the test. */
export async function startHostProcess(server: RunningServer, ...homes: string[]): Promise<Running> {
  const token = path.join(server.data, 'admin-token');
  const running = startCommand(['--server', server.url(), '--token-file', token, 'service', 'run', ...homes], {});
  onTestFinished(async () => {
    running.child.kill('SIGKILL');
    await running.done;
  });
  await waitUntil('the service is hosted', () => {
    if (running.child.exitCode !== null) throw new Error(running.stderr());
    return running.stderr().includes('hosting the service');
  });
  return running;
}
