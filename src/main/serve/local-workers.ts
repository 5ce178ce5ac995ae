import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { systemCode } from '../../ground/base/errors.ts';
import type { Log } from '../../ground/base/log.ts';
import { liveWorkers } from './live-workers.ts';

export interface LocalWorkersOptions {
  readonly count: number;
  readonly url: string;
  readonly fingerprint: string | null;
  readonly data: string;
  readonly verbose: number;
  readonly log: Log;
}

export interface LocalWorkers {
  /** Ends them as planned: what they run goes back to the queue. */
  stop(): Promise<void>;
}

/** A worker process, started by this server or found running when it started. */
interface LocalWorker {
  readonly exited: Promise<string>;
  end(): void;
}

const SHORTEST_LIFE_MS = 10_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
const LOOK_MS = 500;
/** Drained, stopped or ended by hand: not to be replaced. */
const AS_TOLD = 'exit code 0';

/**
 * Workers on the server's own machine that share its cores. One that dies is started again. Those of a server that was
 * killed went on without it: they count, and no others are started in their place.
 */
export async function startLocalWorkers(options: LocalWorkersOptions): Promise<LocalWorkers> {
  if (options.count === 0) return { stop: async () => undefined };
  const slots = Math.max(1, Math.floor(availableParallelism() / options.count));
  const found = await liveWorkers(join(options.data, 'workers'));
  if (found.length > 0) options.log.info({ pids: found }, 'workers of the server before this one still run');
  const ends = Array.from({ length: options.count }, (_, i) => keepOne(options, slots, found[i]));
  return {
    async stop() {
      await Promise.all(ends.map((end) => end()));
    },
  };
}

function keepOne(options: LocalWorkersOptions, slots: number, found: number | undefined): () => Promise<void> {
  const stopping = new AbortController();
  let current = found === undefined ? launch(options, slots) : adopt(found);
  const keep = async (): Promise<void> => {
    for (let wait = 0; ; current = launch(options, slots)) {
      const begun = performance.now();
      const how = await current.exited;
      if (stopping.signal.aborted) return;
      if (how === AS_TOLD)
        return options.log.info(
          {},
          "a local worker ended as it was told; 'pilotage worker' or a restart of the server brings another one",
        );
      wait =
        performance.now() - begun > SHORTEST_LIFE_MS
          ? 0
          : Math.min(LONGEST_PAUSE_MS, Math.max(FIRST_PAUSE_MS, wait * 2));
      options.log.warn({ how }, `a local worker ended; another one is started in ${wait} ms`);
      await pause(wait, undefined, { signal: stopping.signal }).catch(() => undefined);
      if (stopping.signal.aborted) return;
    }
  };
  const kept = keep();
  return () => {
    stopping.abort();
    current.end();
    return kept;
  };
}

function launch(options: LocalWorkersOptions, slots: number): LocalWorker {
  const main = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? '../main.ts' : '../main.js', import.meta.url));
  const flags = [
    '--server',
    options.url,
    '--token-file',
    join(options.data, 'admin-token'),
    '--slots',
    String(slots),
    '--cache',
    join(options.data, 'workers'),
  ];
  const pinned = options.fingerprint === null ? [] : ['--fingerprint', options.fingerprint];
  const verbose = Array.from({ length: options.verbose }, () => '--verbose');
  // A group and a log of its own: it may outlive the server, and Ctrl-C is for the server, which then ends it in order.
  const log = openSync(workerLog(options.data), 'a', 0o600);
  const child = spawn(process.execPath, [...process.execArgv, main, 'worker', ...flags, ...pinned, ...verbose], {
    stdio: ['ignore', log, log],
    detached: true,
  });
  closeSync(log);
  const { promise: exited, resolve } = Promise.withResolvers<string>();
  child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
  child.once('error', (error) => resolve(error.message));
  return { exited, end: () => void child.kill('SIGTERM') };
}

/** Where local workers write what happens. */
export function workerLog(data: string): string {
  return join(data, 'workers.log');
}

function adopt(pid: number): LocalWorker {
  const isThere = () => signalled(pid, 0);
  const watch = async () => {
    while (isThere()) await pause(LOOK_MS);
    return 'it was of an earlier server';
  };
  return { exited: watch(), end: () => void signalled(pid, 'SIGTERM') };
}

function signalled(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if (systemCode(error) === 'ESRCH') return false;
    throw error;
  }
}
