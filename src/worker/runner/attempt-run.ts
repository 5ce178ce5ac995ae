import type { Claim, HeldAttempt, LogChunk, Report } from '../../ground/protocol/exchange.ts';
import type { TaskSpec } from '../../ground/protocol/spec.ts';
import type { Checkpoints } from '../staging/checkpoints.ts';
import type { Staging } from '../staging/staging.ts';
import type { ServerAddress } from './environment.ts';
import type { SpawnerLink } from './spawner-link.ts';

export interface RunnerOptions {
  /** Attempts live here, a directory each. What an earlier worker left is removed. */
  readonly directory: string;
  /** Names the work directory in the marks of its programs, so that nobody ends another's. */
  readonly workId: string;
  readonly spawners: number;
  readonly baseEnv: Readonly<Record<string, string>>;
  readonly server: ServerAddress;
  readonly staging: Staging;
  readonly checkpoints: Checkpoints;
  readonly keepSandboxes: boolean;
  /** Between TERM and KILL. 10 s. */
  readonly killAfterSeconds?: number;
  told(message: string): void;
}

/** One attempt on its way. Structurally what a claimant wants of it, and `programEnded`. */
export interface AttemptRun {
  readonly ended: Promise<Report>;
  /** The program is gone, and what it used is free; its outputs may still be on their way. */
  readonly programEnded: Promise<void>;
  end(cause: 'dropped' | 'stopped'): void;
  /** Gives it back unstarted, if it has not started yet. */
  withdraw(): void;
  state(): Omit<HeldAttempt, 'task' | 'attempt'>;
  takeLogs(limit: { readonly bytes: number; readonly tailOnly: boolean }): LogChunk[];
  returnLogs(chunk: LogChunk): void;
}

/**
 * Where attempts run one after the other: each starts in its spawner as soon as the one before it has ended, without a
 * word from here. What they need, the whole lane has.
 */
export interface Lane {
  readonly id: string;
  readonly spawner: SpawnerLink;
}

export interface Assignment {
  readonly lane: Lane;
  readonly claim: Claim;
  readonly spec: TaskSpec;
  readonly gpus: readonly number[];
}
