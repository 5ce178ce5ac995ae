/** What the worker and its spawner processes say to each other: JSON, one message a line. */

export type ToSpawner =
  /** First of all: the environment that every program starts from. */
  | { readonly op: 'base'; readonly env: Readonly<Record<string, string>>; readonly mark: string }
  | StartProgram
  | { readonly op: 'signal'; readonly id: string; readonly signal: 'SIGTERM' | 'SIGKILL' }
  /** Attempt directories that are no longer needed. */
  | { readonly op: 'remove'; readonly directories: readonly string[] };

export interface StartProgram {
  readonly op: 'start';
  readonly id: string;
  /** The attempt's directory: `sandbox`, `tmp`, `stdout`, `stderr` and `token` are made in it. */
  readonly directory: string;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly token: string;
}

export type FromSpawner =
  /** Only of programs that are still running a moment after their start. `at`: see `monotonicMs`. */
  | { readonly is: 'running'; readonly id: string; readonly pid: number; readonly at: number }
  | { readonly is: 'not-started'; readonly id: string; readonly code: string; readonly message: string }
  | EndedProgram
  | { readonly is: 'trouble'; readonly message: string };

export interface EndedProgram {
  readonly is: 'ended';
  readonly id: string;
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly wallMs: number;
  /** Of the program and all children that it waited for, to 10 ms; absent when it cannot be told from another's. */
  readonly cpuSeconds?: number;
  readonly stdoutBytes: number;
  readonly stderrBytes: number;
}

/** Milliseconds on the machine's monotonic clock, which the processes share. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}
