import { PassThrough } from 'node:stream';
import type { CliContext, OutputStream, ServeOptions, WorkerOptions } from '../../src/face/cli/context.ts';
import { runCli } from '../../src/face/cli/run-cli.ts';

export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** What `serve` or `worker` were started with. */
  readonly started: readonly (ServeOptions | WorkerOptions)[];
}

/** Runs a command line in this process, with nothing of the process's own environment. */
export async function cli(argv: readonly string[], own: Partial<CliContext> = {}): Promise<CliResult> {
  const stdout = new Collector();
  const stderr = new Collector();
  const started: (ServeOptions | WorkerOptions)[] = [];
  const start = async (options: ServeOptions | WorkerOptions): Promise<number> => {
    started.push(options);
    return 0;
  };
  const code = await runCli(argv, {
    stdin: new PassThrough().end(),
    stdout: stdout as OutputStream,
    stderr: stderr as OutputStream,
    env: { HOME: '/nowhere' },
    cwd: '/nowhere',
    version: '1.2.3',
    now: () => new Date('2026-11-21T12:00:00Z'),
    onInterrupt: () => () => {},
    serve: start,
    worker: start,
    restore: () => Promise.reject(new Error('nothing is restored here')),
    cache: NO_CACHE,
    service: NO_SERVICE,
    agent: () => Promise.reject(new Error('no agent here')),
    askAgent: NO_AGENT,
    checkSite: () => Promise.reject(new Error('no sites here')),
    openTerminal: () => undefined,
    ...own,
  });
  return { code, stdout: stdout.text(), stderr: stderr.text(), started };
}

const NO_AGENT: CliContext['askAgent'] = {
  questions: () => Promise.reject(new Error('no agent here')),
  answer: () => Promise.reject(new Error('no agent here')),
  use: () => Promise.reject(new Error('no agent here')),
  sites: () => Promise.reject(new Error('no agent here')),
};

const no = () => Promise.reject(new Error('no services here'));
const NO_SERVICE: CliContext['service'] = { run: no, create: no, check: no, start: no, stop: no, status: no };

const NO_CACHE: CliContext['cache'] = {
  show: () => Promise.reject(new Error('no cache here')),
  list: () => Promise.reject(new Error('no cache here')),
  prune: () => Promise.reject(new Error('no cache here')),
};

class Collector extends PassThrough {
  readonly #pieces: Buffer[] = [];

  override write(chunk: Buffer | string): boolean {
    this.#pieces.push(Buffer.from(chunk));
    return true;
  }

  text(): string {
    return Buffer.concat(this.#pieces).toString('utf8');
  }
}
