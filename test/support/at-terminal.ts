import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { quote } from '../../src/worker/transport/quote.ts';

const MAIN = fileURLToPath(new URL('../../dist/main/main.js', import.meta.url));

/** A command with a terminal of its own: what is typed there, and all that is seen there. */
export interface AtTerminal {
  readonly done: Promise<number | null>;
  screen(): string;
  type(text: string): void;
  /** Of `script`, which holds the terminal; the command ends with it. */
  end(): void;
}

/** util-linux's `script` makes a pseudo terminal. It goes away with the test. */
export function startAtTerminal(
  argv: readonly string[],
  { cwd, env }: { readonly cwd?: string; readonly env: Readonly<Record<string, string>> },
): AtTerminal {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('PILOTAGE_'));
  const command = `exec ${[process.execPath, MAIN, ...argv].map(quote).join(' ')}`;
  const child = spawn('script', ['-q', '-e', '-f', '-c', command, '/dev/null'], {
    env: { ...Object.fromEntries(inherited), ...env, SHELL: '/bin/sh', TERM: 'dumb' },
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(cwd === undefined ? {} : { cwd }),
  });
  let screen = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    screen += piece;
  });
  child.stdin.on('error', () => {});
  const done = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)));
  const end = (): void => void child.kill();
  onTestFinished(end);
  return { done, screen: () => screen, type: (text) => void child.stdin.write(text), end };
}
