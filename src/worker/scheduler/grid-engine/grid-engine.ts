import type { Scheduler } from '../scheduler.ts';
import { cancelOnGridEngine } from './cancel.ts';
import { checkGridEngine } from './check.ts';
import { outcomeOnGridEngine } from './outcome.ts';
import { processesOnGridEngine } from './processes.ts';
import { findOnGridEngine, pollGridEngine } from './queue.ts';
import { type GridEngineNames, gridEngineScript } from './script.ts';
import { submitToGridEngine } from './submit.ts';

export interface GridEngineOptions extends Partial<GridEngineNames> {
  /** Of one command there: 60 seconds unless told. */
  readonly timeoutMs?: number;
}

export function createGridEngine(options: GridEngineOptions = {}): Scheduler {
  const { timeoutMs = 60_000, parallelEnvironment = 'smp', memoryResource = 'h_vmem', gpuResource = 'gpu' } = options;
  const names = { parallelEnvironment, memoryResource, gpuResource };
  return {
    name: 'grid-engine',
    script: (job) => gridEngineScript(job, names),
    submit: (shell, job, path) => submitToGridEngine(shell, job, path, timeoutMs),
    poll: (shell, jobs) => pollGridEngine(shell, jobs, timeoutMs),
    find: (shell, candidates) => {
      const wanted = candidates.map(({ name }) => name);
      return findOnGridEngine(shell, wanted, timeoutMs);
    },
    outcome: (shell, job) => outcomeOnGridEngine(shell, job, timeoutMs),
    cancel: (shell, jobs) => cancelOnGridEngine(shell, jobs, timeoutMs),
    check: (shell) => checkGridEngine(shell, timeoutMs),
    processes: (shell, jobs) => processesOnGridEngine(shell, jobs, timeoutMs),
  };
}
