/** A machine of its own as far as files and processes go: namespaces, and a first process in them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { ENGINES } from './daemon-engine.ts';
import { waitUntil } from './wait-until.ts';

export interface MachineOptions {
  readonly code?: string;
  readonly host?: { readonly exec: readonly string[] };
}

export interface Machine {
  /** Of its first process. */
  readonly pid: number;
  readonly ended: Promise<void>;
}

/** Namespaces, and a first process that adopts what is left behind there. */
export async function startMachine(directory: string, { host, code }: MachineOptions): Promise<Machine> {
  const script = `set -e
mount --bind "$1/home" /home
# The batch systems of the tests are the one thing of /tmp that is seen there too.
mkdir -p "$2" "$1/tmp/$(basename "$2")"
mount --bind "$2" "$1/tmp/$(basename "$2")"
mount --rbind "$1/tmp" /tmp
${code === undefined ? '' : 'mount --bind "$1/pam.d" /etc/pam.d'}
cd /
touch "$1/up"
while :; do sleep 1000; done`;
  const command = [
    ...(host?.exec ?? []),
    'unshare',
    '-m',
    '-p',
    '-f',
    '--kill-child',
    '--mount-proc',
    'sh',
    '-c',
    script,
  ];
  const child: ChildProcess = spawn(command[0] as string, [...command.slice(1), 'sh', directory, ENGINES], {
    // unshare of util-linux 2.38 complains when what it waits for is killed.
    stdio: 'ignore',
    detached: true,
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await waitUntil('the machine is up', () => existsSync(path.join(directory, 'up')), 10);
  const pid = Number(read(`/proc/${child.pid}/task/${child.pid}/children`).trim().split(' ')[0]);
  return { pid, ended };
}

export function processesIn(first: number): number[] {
  const namespace = link(`/proc/${first}/ns/pid`);
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return namespace === undefined ? [] : pids.filter((pid) => link(`/proc/${pid}/ns/pid`) === namespace).map(Number);
}

export function isAlive(pid: number): boolean {
  const state = /^State:\s+(\S)/m.exec(read(`/proc/${pid}/status`))?.[1];
  return state !== undefined && state !== 'Z';
}

export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended meanwhile.
  }
}

export function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function link(file: string): string | undefined {
  try {
    return readlinkSync(file);
  } catch {
    return undefined;
  }
}
