import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { AgentOrder } from './agent-process.ts';

const PROGRAM = fileURLToPath(new URL('./agent-process.ts', import.meta.url));

/** An agent that runs as that user, as on a login node. Takes root. Resolves with what it logged when it is stopped. */
export function startAgentAs(user: string, order: AgentOrder): { stop(): Promise<string> } {
  const child = spawn('setpriv', [`--reuid=${user}`, `--regid=${user}`, '--init-groups', process.execPath, PROGRAM], {
    cwd: '/',
    env: { PATH: '/usr/local/bin:/usr/bin:/bin', LANG: 'C.UTF-8' },
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (piece: string) => {
    said += piece;
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  child.stdin.end(JSON.stringify(order));
  return {
    stop: async () => {
      child.kill('SIGTERM');
      await ended;
      return said;
    },
  };
}
