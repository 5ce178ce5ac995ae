import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { formatDuration } from '../../ground/base/duration.ts';
import { formatSize } from '../../ground/base/size.ts';
import type { FromHooks, HookCall, LoadedService, ToHooks } from './hook-messages.ts';

export interface HookLimits {
  /** A hook that takes longer has hung. */
  readonly seconds: number;
  /** Of its process, in bytes. */
  readonly memory: number;
}

export interface HookProcessOptions {
  readonly module: string;
  /** The service's directory, where the process is between hooks. */
  readonly home: string;
  readonly limits: HookLimits;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export type HookOutcome = Extract<FromHooks, { kind: 'done' | 'failed' }>;

/** A process for hooks, started when it is first needed, and again after one that did not come back. */
export interface HookProcess {
  /** Rejects when the module cannot be loaded. */
  load(): Promise<LoadedService>;
  /** One at a time. Never rejects: what goes wrong is the hook's failure. A signal ends hook and process. */
  call(call: HookCall, options: CallOptions): Promise<HookOutcome>;
  stop(): void;
}

export interface CallOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: Extract<FromHooks, { kind: 'progress' }>) => void;
}

const MEMORY_LOOK_MS = 500;
const LOAD_SECONDS = 60;

export function createHookProcess(options: HookProcessOptions): HookProcess {
  let current: { child: ChildProcess; loaded: LoadedService } | undefined;
  const onGone = (): void => {
    current = undefined;
  };
  const ready = async (signal: AbortSignal) => {
    if (current && current.child.exitCode === null && current.child.signalCode === null && current.child.connected)
      return current;
    const child = start(options);
    const answer = await ask(
      child,
      { kind: 'load', module: options.module, home: options.home },
      {
        signal,
        limits: { ...options.limits, seconds: LOAD_SECONDS },
        what: 'loading the module',
        onGone,
      },
    );
    if (answer.kind !== 'loaded') {
      end(child);
      throw Object.assign(new Error((answer as { message: string }).message), {
        stack: (answer as { stack?: string }).stack,
      });
    }
    current = { child, loaded: answer.service };
    return current;
  };
  return {
    load: async () => (await ready(new AbortController().signal)).loaded,
    async call(call, { signal, onProgress }) {
      try {
        const { child } = await ready(signal);
        const answer = await ask(
          child,
          { kind: 'call', ...call },
          {
            signal,
            limits: options.limits,
            what: `the hook '${call.hook}'`,
            onGone,
            onProgress,
          },
        );
        return answer as HookOutcome;
      } catch (error) {
        const { message, stack } = error as Error;
        return { kind: 'failed', message: `the module could not be loaded: ${message}`, stack: stack ?? null };
      }
    },
    stop() {
      if (current) end(current.child);
      current = undefined;
    },
  };
}

/** Its own process group, so that what a hook has started ends with it. */
function start({ limits, home, environment }: HookProcessOptions): ChildProcess {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const program = fileURLToPath(new URL(`./hook-child.${extension}`, import.meta.url));
  const heap = Math.max(32, Math.floor(limits.memory / 2 ** 20));
  const child = fork(program, [], {
    cwd: home,
    env: environment as NodeJS.ProcessEnv,
    execArgv: [`--max-old-space-size=${heap}`, '--disable-warning=ExperimentalWarning'],
    detached: true,
    stdio: ['ignore', 2, 2, 'ipc'],
  });
  child.on('error', () => {});
  return child;
}

function end(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

interface Asking {
  readonly signal: AbortSignal;
  readonly limits: HookLimits;
  readonly what: string;
  readonly onGone: () => void;
  readonly onProgress?: CallOptions['onProgress'];
}

/** One answer to one message, or why none came. */
function ask(
  child: ChildProcess,
  message: ToHooks,
  { signal, limits, what, onGone, onProgress }: Asking,
): Promise<FromHooks> {
  const { promise, resolve } = Promise.withResolvers<FromHooks>();
  const fail = (text: string): void => {
    end(child);
    // It may be told later than the next hook is called that the process has ended.
    onGone();
    resolve({ kind: 'failed', message: text, stack: null });
  };
  const onMessage = (answer: FromHooks): void => {
    if (answer.kind === 'progress') onProgress?.(answer);
    else resolve(answer);
  };
  const onExit = (code: number | null, by: string | null): void =>
    fail(by === null ? `${what} ended its process (exit code ${code})` : `the process of ${what} was ended by ${by}`);
  const onAbort = (): void => fail(`${what} was ended`);
  const timer = setTimeout(
    () => fail(`${what} hung: it did not return within ${formatDuration(limits.seconds)}, and was ended`),
    limits.seconds * 1000,
  );
  const watch = setInterval(() => {
    if (memoryOf(child.pid) > limits.memory)
      fail(`${what} took more memory than the ${formatSize(limits.memory)} that it may have, and was ended`);
  }, MEMORY_LOOK_MS);
  child.on('message', onMessage);
  child.once('exit', onExit);
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) onAbort();
  else child.send(message, (error) => error && fail(`${what} could not be called: ${error.message}`));
  return promise.finally(() => {
    clearTimeout(timer);
    clearInterval(watch);
    child.off('message', onMessage);
    child.off('exit', onExit);
    signal.removeEventListener('abort', onAbort);
  });
}

const PAGE_BYTES = 4096;

/** What it has in memory, in bytes; 0 where that cannot be seen. */
function memoryOf(pid: number | undefined): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]) * PAGE_BYTES;
  } catch {
    return 0;
  }
}
