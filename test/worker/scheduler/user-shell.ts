import { spawn } from 'node:child_process';
import type { Shell } from '../../../src/worker/scheduler/shell.ts';

export interface UserShell extends Shell {
  /** How many scripts were run. */
  readonly commands: number;
}

/** A shell of an ordinary user on this machine, as a login over ssh would give it. Needs root. */
export function shellOf(
  user: string,
  environment: Readonly<Record<string, string>> = {},
  program: readonly string[] = ['/bin/sh'],
): UserShell {
  let commands = 0;
  const settings = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  return {
    get commands() {
      return commands;
    },
    run: async (script, { stdin = '', timeoutMs = 120_000 } = {}) => {
      commands += 1;
      const words = [
        '-u',
        user,
        '--',
        'env',
        '-i',
        'PATH=/usr/local/bin:/usr/bin:/bin',
        ...settings,
        ...program,
        '-c',
        script,
      ];
      const child = spawn('/usr/sbin/runuser', words, { cwd: '/', stdio: 'pipe', detached: true });
      const end = Promise.withResolvers<number | null>();
      child.once('error', end.reject).once('close', end.resolve);
      const timer = setTimeout(() => {
        process.kill(-child.pid!, 'SIGKILL');
        end.reject(new Error(`no end after ${timeoutMs} ms`));
      }, timeoutMs);
      const texts = { stdout: '', stderr: '' };
      for (const name of ['stdout', 'stderr'] as const) {
        child[name].setEncoding('utf8').on('data', (text: string) => {
          texts[name] += text;
        });
      }
      child.stdin.on('error', () => undefined).end(stdin);
      try {
        return { exitCode: await end.promise, ...texts };
      } finally {
        clearTimeout(timer);
      }
    },
  };
}
