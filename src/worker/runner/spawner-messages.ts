/** What the worker and its spawner processes say to each other: JSON, one message a line. */

export type ToSpawner =
  /** First of all: the environment that every program starts from. */
  | { readonly op: 'base'; readonly env: Readonly<Record<string, string>>; readonly mark: string }
  | StartProgram
  /** To a program that has not started yet: it never will. */
  | { readonly op: 'signal'; readonly id: string; readonly signal: 'SIGTERM' | 'SIGKILL' }
  /** Not to start it, if it has not started yet. */
  | { readonly op: 'withdraw'; readonly id: string }
  /** Attempt directories that are no longer needed. */
  | { readonly op: 'remove'; readonly directories: readonly string[] };

export interface StartProgram {
  readonly op: 'start';
  readonly id: string;
  /** Programs of one lane run one after the other, each as soon as the one before it has ended. */
  readonly lane: string;
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

/** The codes of `not-started` that are ours, not the system's: the directory could not be made; it was taken back. */
export const NO_DIRECTORY = 'NO-DIRECTORY';
export const WITHDRAWN = 'WITHDRAWN';

/** Milliseconds on the machine's monotonic clock, which the processes share. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}
