import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Client, createClient } from '../src/ground/client/client.ts';
import { httpTransport } from '../src/ground/client/http-transport.ts';

const PILOTAGE = join(import.meta.dirname, '../bin/pilotage');

export interface BenchServer {
  readonly data: string;
  readonly url: string;
  readonly client: Client;
  readonly pid: number;
  readonly started: readonly ChildProcess[];
  /** Another pilotage process of this server's; ended with it. */
  start(...args: string[]): ChildProcess;
  /** kill -9, and a new server on the same data. Resolves when it answers; with how long that took, in ms. */
  restart(): Promise<number>;
  stop(): Promise<void>;
}

/** A real server in a process of its own, on a data directory of its own. */
export async function startServer(options: { data?: string; args?: readonly string[] } = {}): Promise<BenchServer> {
  const data = options.data ?? mkdtempSync(join(tmpdir(), 'pilotage-bench-'));
  let server = launch(data, options.args ?? []);
  const facts = await announced(data, server.pid as number);
  const token = readFileSync(join(data, 'admin-token'), 'utf8').trim();
  const client = createClient(httpTransport({ url: facts.url }), () => token);
  const started: ChildProcess[] = [];
  return {
    data,
    url: facts.url,
    client,
    get pid() {
      return server.pid as number;
    },
    started,
    start(...args) {
      const child = spawn(PILOTAGE, args, {
        stdio: ['ignore', 'ignore', process.env.BENCH_DEBUG ? 'inherit' : 'ignore'],
      });
      started.push(child);
      return child;
    },
    async restart() {
      const begun = performance.now();
      server.kill('SIGKILL');
      await exited(server);
      server = launch(data, options.args ?? []);
      await announced(data, server.pid as number);
      return performance.now() - begun;
    },
    async stop() {
      for (const child of started) child.kill('SIGTERM');
      await Promise.all(started.map(exited));
      server.kill('SIGTERM');
      await exited(server);
      client.close();
      if (!options.data) rmSync(data, { recursive: true, force: true });
    },
  };
}

function launch(data: string, args: readonly string[]): ChildProcess {
  return spawn(PILOTAGE, ['serve', '--data', data, '--listen', '127.0.0.1:0', ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

async function announced(data: string, pid: number): Promise<{ url: string }> {
  for (;;) {
    try {
      const facts = JSON.parse(readFileSync(join(data, 'server.json'), 'utf8'));
      if (facts.pid === pid) return facts;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    await pause(5);
  }
}

export function exited(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => child.once('exit', () => resolve()));
}

/** Resident memory of a process in MB. */
export function residentMb(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}

/** Processor time of a process so far, in seconds, from /proc (ticks of 10 ms). */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

export function machine(): string {
  const cpu = /model name\s*:\s*(.*)/.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown processor';
  const kernel = execFileSync('uname', ['-r'], { encoding: 'utf8' }).trim();
  const load = readFileSync('/proc/loadavg', 'utf8').split(' ').slice(0, 2).join(' ');
  return `${cpu}, ${navigator.hardwareConcurrency} cores, Linux ${kernel}, Node.js ${process.version}, load ${load}`;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
