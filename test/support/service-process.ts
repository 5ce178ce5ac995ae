import path from 'node:path';
import { onTestFinished } from 'vitest';
import { type CommandOptions, type Running, type RunningServer, startCommand } from './running-server.ts';
import { waitUntil } from './wait-until.ts';

/** Starts `pilotage service run` and waits until it hosts; it ends with the test. */
export function startHostProcess(server: RunningServer, ...homes: string[]): Promise<Running> {
  return startHostAs({}, { server: server.url(), tokenFile: path.join(server.data, 'admin-token') }, homes);
}

/** The same by another account, with a token file of its own. */
export async function startHostAs(
  options: CommandOptions,
  at: { readonly server: string; readonly tokenFile: string },
  homes: readonly string[],
): Promise<Running> {
  const argv = ['--server', at.server, '--token-file', at.tokenFile, 'service', 'run', ...homes];
  const running = startCommand(argv, options);
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
