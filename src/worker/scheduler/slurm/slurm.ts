import type { Scheduler } from '../scheduler.ts';
import { cancelSlurmJobs } from './cancel.ts';
import { checkSlurm } from './check.ts';
import { findOnSlurm } from './find.ts';
import { outcomeOnSlurm } from './outcome.ts';
import { processesOnSlurm } from './processes.ts';
import { pollSlurm } from './queue.ts';
import { slurmScript } from './script.ts';
import { submitToSlurm } from './submit.ts';

export interface SlurmOptions {
  /** Of one command there: 60 seconds unless told. Slurm's own clients give up after 10 to 100. */
  readonly timeoutMs?: number;
  /** Where the site's options send jobs to (`-M`), if not to the one cluster that the commands speak to by themselves. */
  readonly clusters?: readonly string[];
}

export function createSlurm(options: SlurmOptions = {}): Scheduler {
  const { timeoutMs = 60_000, clusters = [''] } = options;
  return {
    name: 'slurm',
    script: slurmScript,
    submit: (shell, job, path) => submitToSlurm(shell, job, path, timeoutMs),
    poll: (shell, jobs) => pollSlurm(shell, jobs, timeoutMs),
    find: (shell, names) =>
      findOnSlurm(
        shell,
        names.map(({ name }) => name),
        clusters,
        timeoutMs,
      ),
    outcome: (shell, job) => outcomeOnSlurm(shell, job, timeoutMs),
    cancel: (shell, jobs) => cancelSlurmJobs(shell, jobs, timeoutMs),
    check: (shell) => checkSlurm(shell, timeoutMs),
    processes: (shell, jobs) => processesOnSlurm(shell, jobs, timeoutMs),
  };
}
