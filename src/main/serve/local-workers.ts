import { type ChildProcess, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Log } from '../../ground/base/log.ts';

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

const SHORTEST_LIFE_MS = 10_000;
const LONGEST_PAUSE_MS = 30_000;

/** Workers on the server's own machine that share its cores. One that dies is started again. */
export function startLocalWorkers(options: LocalWorkersOptions): LocalWorkers {
  const slots = Math.max(1, Math.floor(availableParallelism() / Math.max(1, options.count)));
  const ends = Array.from({ length: options.count }, () => keepOne(options, slots));
  return {
    async stop() {
      await Promise.all(ends.map((end) => end()));
    },
  };
}

function keepOne(options: LocalWorkersOptions, slots: number): () => Promise<void> {
  let stopping = false;
  let pause = 0;
  let timer: NodeJS.Timeout | undefined;
  let child: ChildProcess | undefined;
  const over = Promise.withResolvers<void>();
  const start = () => {
    const begun = performance.now();
    child = launch(options, slots);
    child.once('exit', (code, signal) => {
      child = undefined;
      if (stopping || code === 0) return over.resolve();
      pause = performance.now() - begun > SHORTEST_LIFE_MS ? 0 : Math.min(LONGEST_PAUSE_MS, Math.max(500, pause * 2));
      options.log.warn({ code, signal }, `a local worker ended unexpectedly; another one is started in ${pause} ms`);
      timer = setTimeout(start, pause);
    });
  };
  start();
  return () => {
    stopping = true;
    clearTimeout(timer);
    if (!child) over.resolve();
    child?.kill('SIGTERM');
    return over.promise;
  };
}

function launch(options: LocalWorkersOptions, slots: number): ChildProcess {
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
  // A group of its own: Ctrl-C is for the server, which then ends its workers in order.
  return spawn(process.execPath, [main, 'worker', ...flags, ...pinned, ...verbose], {
    stdio: ['ignore', 'inherit', 'inherit'],
    detached: true,
  });
}
