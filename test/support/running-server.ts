import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { waitUntil } from './wait-until.ts';

/** The program as it is compiled before the tests begin. */
const MAIN = fileURLToPath(new URL('../../dist/main/main.js', import.meta.url));

export interface Ran {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command on its way. */
export interface Running {
  readonly child: ChildProcess;
  readonly done: Promise<Ran>;
  stdout(): string;
  stderr(): string;
}

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  /** What it is started with, as `ip netns exec NAME`. */
  readonly exec?: readonly string[];
}

export interface RunningServer {
  readonly data: string;
  url(): string;
  /** Runs a command against this server to its end. */
  run(argv: readonly string[], options?: CommandOptions): Promise<Ran>;
  start(argv: readonly string[], options?: CommandOptions): Running;
  /** The answer of a command with `--json`; fails unless it ends with 0. */
  json<T>(argv: readonly string[], options?: CommandOptions): Promise<T>;
  kill(signal?: NodeJS.Signals): Promise<void>;
  restart(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts `pilotage serve` on a free port with a data directory of its own (or the one given); on disposal it is stopped. */
export async function startServer(
  flags: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
  data: string = mkdtempSync(path.join(tmpdir(), 'pilotage-server-')),
): Promise<RunningServer> {
  let server = await launch(data, flags, env);
  const url = (): string => (JSON.parse(readFileSync(path.join(data, 'server.json'), 'utf8')) as { url: string }).url;
  const start = (argv: readonly string[], options: CommandOptions = {}): Running =>
    startCommand(argv, { ...options, env: { PILOTAGE_DATA: data, ...options.env } });
  const kill = async (signal: NodeJS.Signals = 'SIGKILL'): Promise<void> => {
    server.child.kill(signal);
    await server.done;
  };
  return {
    data,
    url,
    start,
    kill,
    run: (argv, options) => start(argv, options).done,
    json: async (argv, options) => {
      const { code, stdout, stderr } = await start(['--json', ...argv], options).done;
      if (code !== 0) throw new Error(`pilotage ${argv.join(' ')} ended with ${code}: ${stderr}`);
      return JSON.parse(stdout);
    },
    restart: async () => {
      server = await launch(data, flags, env);
    },
    [Symbol.asyncDispose]: async () => {
      await kill('SIGTERM');
      rmSync(data, { recursive: true, force: true });
    },
  };
}

async function launch(data: string, flags: readonly string[], env: Readonly<Record<string, string>>): Promise<Running> {
  const server = startCommand(['serve', '--data', data, '--listen', '127.0.0.1:0', ...flags], { env });
  await waitUntil('the server answers', async () => {
    if (server.child.exitCode !== null) throw new Error(`the server ended: ${server.stderr()}`);
    return isHealthy(data, server.child.pid);
  });
  return server;
}

async function isHealthy(data: string, pid: number | undefined): Promise<boolean> {
  const file = path.join(data, 'server.json');
  if (!existsSync(file)) return false;
  const announced = JSON.parse(readFileSync(file, 'utf8')) as { url: string; pid: number };
  if (announced.pid !== pid) return false;
  return fetch(`${announced.url}/healthz`).then(
    (answer) => answer.ok,
    () => false,
  );
}

/** Starts the program with an environment that holds nothing of Pilotage but what is given. */
export function startCommand(argv: readonly string[], { cwd, env, stdin, exec = [] }: CommandOptions): Running {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('PILOTAGE_'));
  const [program = process.execPath, ...words] = [...exec, process.execPath, MAIN, ...argv];
  const child = spawn(program, words, {
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(cwd === undefined ? {} : { cwd }),
  });
  const text = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (piece: string) => {
      text[name] += piece;
    });
  }
  child.stdin.on('error', () => {});
  child.stdin.end(stdin);
  const done = new Promise<Ran>((resolve) => child.once('close', (code, signal) => resolve({ code, signal, ...text })));
  return { child, done, stdout: () => text.stdout, stderr: () => text.stderr };
}
