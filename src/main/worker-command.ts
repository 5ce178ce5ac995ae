import { createClient } from '../ground/client/client.ts';
import { httpTransport } from '../ground/client/http-transport.ts';
import { startWorker, type Worker } from '../worker/worker/worker.ts';
import { logToStderr, tokenReader } from './log-and-token.ts';
import { usualWorkDirectory } from './usual-work-directory.ts';

/** What `pilotage worker` was told, already read from flags, environment and files. Sizes in bytes, times in seconds. */
export interface WorkerCommandOptions {
  readonly version: string;
  readonly server: string;
  /** Read at each call, so that it may be replaced while the worker runs. */
  readonly tokenFile: string;
  readonly fingerprint?: string;
  readonly slots?: number;
  readonly memory?: number;
  readonly gpus?: number;
  readonly named?: Readonly<Record<string, number>>;
  /** Default: `pilotage-worker-<uid>` in the directory for temporary files. */
  readonly workDirectory?: string;
  readonly cacheBytes?: number;
  readonly name?: string;
  readonly zone?: string;
  /** How it feeds workers of its zone; false: not at all. */
  readonly share?:
    | false
    | { readonly listen?: { readonly host: string; readonly port: number }; readonly address?: string };
  readonly labels?: Readonly<Record<string, string>>;
  readonly projects?: readonly string[];
  readonly wallTimeSeconds?: number;
  readonly untilIdleSeconds?: number;
  readonly keepSandboxes?: boolean;
  /** 0: warnings and errors, 1: what it does (default), 2: everything. */
  readonly verbosity?: number;
}

/** Runs a worker in this process until it ends; resolves with the exit code. */
export async function runWorker(options: WorkerCommandOptions): Promise<number> {
  const log = logToStderr(options.verbosity ?? 1);
  const target = {
    url: options.server,
    ...(options.fingerprint === undefined ? {} : { fingerprint: options.fingerprint }),
  };
  const token = tokenReader(options.tokenFile);
  // What is wrong with the file now would be wrong for hours: said at once, not in a log.
  token();
  const client = createClient(httpTransport(target), token);
  const { server: _server, tokenFile: _tokenFile, fingerprint: _fingerprint, workDirectory, ...rest } = options;
  const worker = await startWorker({
    ...rest,
    client,
    log,
    server: target,
    environment: process.env,
    workDirectory: workDirectory ?? usualWorkDirectory(),
  });
  const forget = obeySignals(worker);
  try {
    return await worker.done;
  } finally {
    forget();
    client.close();
  }
}

/** TERM, INT and HUP end the worker as planned, a second one at once; USR1 and USR2 let it finish what it runs. */
function obeySignals(worker: Worker): () => void {
  let asked = false;
  const stop = (): void => {
    if (asked) process.exit(130);
    asked = true;
    worker.stop();
  };
  const on = { SIGTERM: stop, SIGINT: stop, SIGHUP: stop, SIGUSR1: worker.drain, SIGUSR2: worker.drain };
  for (const [signal, act] of Object.entries(on)) process.on(signal, act);
  return () => {
    for (const [signal, act] of Object.entries(on)) process.off(signal, act);
  };
}
