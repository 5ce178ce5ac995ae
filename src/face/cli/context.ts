import type { HttpTarget } from '../../ground/client/http-transport.ts';
import type { Transport } from '../../ground/client/transport.ts';

export interface OutputStream extends NodeJS.WritableStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** What a command line runs in. `main` gives the real things, a test its own. */
export interface CliContext {
  readonly stdin: NodeJS.ReadableStream;
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly version: string;
  now(): Date;
  /** Calls back at each Ctrl-C, in place of ending the process, until the returned function is called. */
  onInterrupt(listener: () => void): () => void;
  /** How a server is reached; HTTP over TCP or TLS unless given. */
  readonly transport?: (target: HttpTarget) => Transport;
  /** Runs a server until it is told to end. Resolves with the exit code. */
  serve(options: ServeOptions): Promise<number>;
  /** Runs a worker until it ends. Resolves with the exit code. */
  worker(options: WorkerOptions): Promise<number>;
}

/** `pilotage serve`. What is undefined has not been said; the server knows what to take then. */
export interface ServeOptions {
  readonly data: string;
  readonly listen?: { readonly host: string; readonly port: number };
  /** With its password, if it has one. SQLite in the data directory unless given. */
  readonly database?: string;
  readonly blobs?: string;
  readonly workers: number;
  readonly tls:
    | { readonly kind: 'none' | 'self-made' }
    | { readonly kind: 'files'; readonly cert: string; readonly key: string };
  readonly insecure: boolean;
  readonly heartbeatSeconds?: number;
  readonly leaseSeconds?: number;
  /** How often `--verbose` was given. */
  readonly verbose: number;
}

/** `pilotage worker`. What is undefined has not been said: the worker looks at its machine. Sizes in bytes. */
export interface WorkerOptions {
  readonly version: string;
  readonly server: string;
  readonly tokenFile: string;
  readonly fingerprint?: string;
  /** The cpus that it offers. */
  readonly slots?: number;
  readonly memory?: number;
  readonly gpus?: number;
  readonly named?: Readonly<Record<string, number>>;
  readonly labels?: Readonly<Record<string, string>>;
  /** Sandboxes, spool and cache. */
  readonly workDirectory?: string;
  readonly zone?: string;
  readonly name?: string;
  readonly projects?: readonly string[];
  readonly wallTimeSeconds?: number;
  readonly untilIdleSeconds?: number;
  readonly keepSandboxes: boolean;
  /** 1 unless `--verbose` was given. */
  readonly verbosity: number;
}

/** The context of a process. `env` is the caller's to read. */
export function processContext(own: Pick<CliContext, 'env' | 'version' | 'serve' | 'worker'>): CliContext {
  // A reader that has seen enough (`pilotage tasks | head`) is no failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  return {
    ...own,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    cwd: process.cwd(),
    now: () => new Date(),
    onInterrupt: (listener) => {
      process.on('SIGINT', listener);
      return () => process.off('SIGINT', listener);
    },
  };
}
