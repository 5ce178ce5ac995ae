/** What the batch systems of the tests have in common: daemons of a machine that several test files and runs share. */
import { type ExecFileSyncOptions, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { startTimeOf } from '../../src/worker/runner/marked-processes.ts';
import { waitUntil } from './wait-until.ts';

/** The same for every run: what a killed run left is found there, and used or ended. Open to the daemons' own users. */
export const ENGINES = join(tmpdir(), 'pilotage-test-engines');

/** Set by the global set-up: whoever starts something for the run is this process. */
export const RUN = 'PILOTAGE_TEST_RUN';

export function run(program: string, args: readonly string[], options: ExecFileSyncOptions = {}): string {
  return execFileSync(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    timeout: 60_000,
    ...options,
  }) as string;
}

/** Does it succeed? */
export function succeeds(program: string, args: readonly string[], options: ExecFileSyncOptions = {}): boolean {
  try {
    run(program, args, { timeout: 5000, ...options });
    return true;
  } catch {
    return false;
  }
}

/** One process of the machine at a time; a killed one lets go. */
export async function underLock<T>(name: string, work: () => Promise<T>): Promise<T> {
  mkdirSync(ENGINES, { recursive: true, mode: 0o755 });
  const holder = spawn('flock', [join(ENGINES, `${name}.lock`), 'sh', '-c', 'echo held; cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const over = once(holder, 'exit');
  await once(holder.stdout, 'data');
  try {
    return await work();
  } finally {
    holder.stdin.end();
    await over;
  }
}

/** The live process of that name whose number is in the file. */
export function pidOf(file: string, name: string): number | undefined {
  try {
    const pid = Number(readFileSync(file, 'utf8').trim());
    const is = readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === name && startTimeOf(pid) !== undefined;
    return is && pid > 1 ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** TERM and ten seconds, or at once; nothing but the process of that name. */
export async function stopDaemon(file: string, name: string, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  const pid = pidOf(file, name);
  if (pid === undefined) return;
  process.kill(pid, signal);
  process.kill(pid, 'SIGCONT');
  await waitUntil(`${name} to end`, () => pidOf(file, name) === undefined, 10).catch(() =>
    process.kill(pid, 'SIGKILL'),
  );
  await waitUntil(`${name} to be gone`, () => pidOf(file, name) === undefined, 10);
}

/** What jobs left behind: processes whose working directory lies below that of a daemon. */
export function killBelow(directory: string): void {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const where = readlinkSync(`/proc/${pid}/cwd`);
      if (where === directory || where.startsWith(`${directory}/`)) process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It is gone, or has no directory.
    }
  }
}

/** Our own name must lead to this machine alone. An address of the outside would take the daemons off loopback. */
export function nameThisHost(): void {
  const name = hostname();
  const first = (): string => run('sh', ['-c', '{ getent ahostsv4 "$1"; getent hosts "$1"; } | head -n 1', 'sh', name]);
  if (first().startsWith('127.')) return;
  const lines = readFileSync('/etc/hosts', 'utf8').split('\n');
  const others = lines.filter((line) => !line.split(/\s+/).slice(1).includes(name));
  // Written in place: a container's /etc/hosts is a mount and cannot be renamed over.
  if (others.length < lines.length) writeFileSync('/etc/hosts', others.join('\n'));
  appendFileSync('/etc/hosts', `\n127.0.0.1 ${name}\n`);
}

/** Says that this run uses the engine. */
export function enter(engine: string): void {
  const directory = join(ENGINES, `${engine}.users`);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, process.env[RUN] ?? nameOfThisProcess()), '');
}

/** Does this run use it? */
export function hasEntered(engine: string): boolean {
  return existsSync(join(ENGINES, `${engine}.users`, process.env[RUN] ?? nameOfThisProcess()));
}

/** This run needs it no more; true if nobody does. */
export function leave(engine: string): boolean {
  const directory = join(ENGINES, `${engine}.users`);
  rmSync(join(directory, process.env[RUN] ?? nameOfThisProcess()), { force: true });
  try {
    return !readdirSync(directory).some(isAlive);
  } catch {
    return false;
  }
}

export function nameOfThisProcess(): string {
  return `${process.pid}.${startTimeOf(process.pid)}`;
}

function isAlive(user: string): boolean {
  const [pid, startTime] = user.split('.');
  return startTimeOf(Number(pid)) === startTime;
}
