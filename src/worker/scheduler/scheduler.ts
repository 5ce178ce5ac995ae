import type { Shell } from './shell.ts';

/** What the batch system calls a job: unique, and made by us before anything is submitted. */
export type BatchName = string & { readonly brand: 'BatchName' };

/**
 * What the batch system gave. Slurm begins at 1 again when a cluster is built anew and Grid Engine's numbers wrap: only
 * together with the name does it say which job is meant.
 */
export type BatchId = string & { readonly brand: 'BatchId' };

export interface BatchJob {
  readonly name: BatchName;
  /** Where it runs: absolute, there. It exists. */
  readonly directory: string;
  /** A POSIX shell script. */
  readonly body: string;
  /** Absolute, there. */
  readonly stdout: string;
  readonly stderr: string;
  readonly wallTimeSeconds?: number;
  readonly cpus?: number;
  readonly memoryBytes?: number;
  readonly gpus?: number;
  /** Of the site's configuration, as for sbatch or qsub: arguments, one or more to a line. */
  readonly options: readonly string[];
}

/** A job that was submitted, or may have been. */
export interface BatchRef {
  readonly id: BatchId;
  readonly name: BatchName;
  readonly directory: string;
  /** As in its `BatchJob`: what stopped a program is sometimes written there and nowhere else. */
  readonly stderr?: string;
}

export type BatchCandidate = Pick<BatchRef, 'name' | 'directory'>;

export type EndingCause =
  | 'completed'
  | 'failed'
  | 'time-limit'
  | 'memory-limit'
  | 'cancelled'
  | 'preempted'
  | 'node-lost'
  | 'start-failed';

export interface BatchEnding {
  readonly cause: EndingCause;
  readonly exitCode?: number;
  /** Such as SIGKILL. */
  readonly signal?: string;
  /** What the batch system says, in its own words. */
  readonly words?: string;
}

export type BatchStatus =
  | {
      readonly state: 'pending';
      readonly reason?: string;
      /** It will never start unless somebody changes the job or the cluster. */
      readonly hopeless: boolean;
    }
  | { readonly state: 'running'; readonly node?: string; readonly since?: Date }
  /** Its processes are being ended, or its files brought back. */
  | { readonly state: 'ending' }
  /** Without an ending where the queue does not tell: `outcome` may. */
  | { readonly state: 'ended'; readonly ending?: BatchEnding }
  /** The batch system answers, and does not know it (any more). */
  | { readonly state: 'gone' }
  /** It is known there, in a state that we do not know or cannot look at: neither an error nor an end. */
  | { readonly state: 'unknown'; readonly words: string };

export type SubmitResult =
  | { readonly ok: true; readonly id: BatchId }
  /** Nothing was started. */
  | { readonly ok: false; readonly reason: string };

/** `cancelled`: the batch system has it in hand; `poll` tells when it is over. */
export type CancelOutcome = 'cancelled' | 'already-gone' | { readonly failed: string };

export type CheckResult =
  | { readonly ok: true; readonly version: string; readonly detail: string }
  | { readonly ok: false; readonly problem: string; readonly advice: string };

/** What is not known is left out. */
export interface JobProcesses {
  readonly node?: string;
  readonly cpuSeconds?: number;
  readonly rssBytes?: number;
  readonly elapsedSeconds?: number;
  readonly processes: readonly ProcessInfo[];
}

export interface ProcessInfo {
  readonly pid: number;
  readonly parent?: number;
  readonly cpuSeconds?: number;
  readonly rssBytes?: number;
  readonly elapsedSeconds?: number;
  readonly command?: string;
}

/**
 * What to say on a machine. Each call sends one command there, however many jobs it is about (`cancel` two), and has a
 * time limit. Whatever is asked rejects with `scheduler-silent` when there is no answer: that proves nothing about jobs.
 */
export interface Scheduler {
  readonly name: 'process' | 'slurm' | 'grid-engine';
  /** The whole script file. Nothing of names, directories and options is ever run by a shell. */
  script(job: BatchJob): string;
  /**
   * Submits the script file that lies at `path`. A refusal means that nothing was started. When it rejects nobody knows:
   * then `find` decides, never a second submit.
   */
  submit(shell: Shell, job: BatchJob, path: string): Promise<SubmitResult>;
  /** An answer for each job. */
  poll(shell: Shell, jobs: readonly BatchRef[]): Promise<Map<BatchId, BatchStatus>>;
  /**
   * Which of these the batch system knows (pending, running or ended lately), for adoption. What ended while nobody
   * looked may be forgotten there: look for its exit-code file first.
   */
  find(shell: Shell, names: readonly BatchCandidate[]): Promise<Map<BatchName, BatchId>>;
  /** What the accounting knows of a job that ended; undefined when it knows nothing (yet: ask again for half a minute). */
  outcome(shell: Shell, job: BatchRef): Promise<BatchEnding | undefined>;
  /** Cancelling what is gone is no error. */
  cancel(shell: Shell, jobs: readonly BatchRef[]): Promise<Map<BatchId, CancelOutcome>>;
  /** Is it there and answering? Never rejects for a missing command; a machine that is not reached does reject. */
  check(shell: Shell): Promise<CheckResult>;
  /** What runs of these jobs now, and what it uses. Jobs that do not run are left out. */
  processes(shell: Shell, jobs: readonly BatchRef[]): Promise<Map<BatchId, JobProcesses>>;
}
