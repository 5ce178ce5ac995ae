import { quote } from '../../transport/quote.ts';
import type { BatchName, BatchRef } from '../scheduler.ts';
import { QUEUE_FORMAT } from './read-queue.ts';
import { SACCT_FORMAT } from './read-records.ts';

/** Seconds since 1970 instead of the cluster's idea of local time; and nothing of the user's own SQUEUE_… settings. */
const PLAIN = `export SLURM_TIME_FORMAT=%s LC_ALL=C
unset SQUEUE_ALL SQUEUE_ARRAY SQUEUE_CLUSTERS SQUEUE_FORMAT SQUEUE_FORMAT2 SQUEUE_NAMES SQUEUE_PARTITION SQUEUE_SORT SQUEUE_STATES SQUEUE_USERS
unset SACCT_FORMAT SCONTROL_ALL SCONTROL_ONE_LINER`;

/**
 * All of the user's jobs by one call, the ended ones that Slurm still remembers included. Not by ids: `squeue -j` with
 * one unknown id fails (22.05), with none lists everybody's jobs.
 */
export function queueCommand(cluster: string, seconds: number): string {
  return `${PLAIN}\nwithin ${seconds} squeue${option('-M', cluster)} -h -u "$(id -u)" -t all -O ${quote(QUEUE_FORMAT)}`;
}

/** Of the last week, by name: what the queue may have forgotten. */
export function accountingByName(names: readonly BatchName[], cluster: string, seconds: number): string {
  const what = `-S now-7days --name=${quote(names.join(','))}`;
  return `${PLAIN}\nwithin ${seconds} sacct${option('-M', cluster)} -n -X -P ${what} -o ${quote(SACCT_FORMAT)}`;
}

export function recordCommand({ number, cluster }: SlurmId, seconds: number): string {
  return `${PLAIN}\nwithin ${seconds} scontrol${option('-M', cluster)} -o show job ${number}`;
}

export function accountingById({ number, cluster }: SlurmId, seconds: number): string {
  return `${PLAIN}\nwithin ${seconds} sacct${option('-M', cluster)} -n -P -j ${number} -o ${quote(SACCT_FORMAT)}`;
}

/** With -v it says of each id what it thinks (22.05: exit code 0 also for an unknown id). */
export function cancelCommand(numbers: readonly string[], cluster: string, seconds: number): string {
  return `within ${seconds} scancel -v${option('-M', cluster)} ${numbers.join(' ')} 2>&1`;
}

/** Batch steps alone: the daemons of all nodes of the jobs are asked for them. */
export function usageCommand(numbers: readonly string[], cluster: string, seconds: number): string {
  const steps = numbers.map((number) => `${number}.batch`).join(',');
  return `within ${seconds} sstat${option('-M', cluster)} -a -n -P -j ${steps} -o JobID,AveCPU,MaxRSS`;
}

export interface SlurmId {
  readonly number: string;
  /** Empty for the one that the commands speak to by themselves. */
  readonly cluster: string;
}

/** `sbatch --parsable` prints `number` or `number;cluster`. */
export function readId(id: string): SlurmId {
  const [number = '', cluster = ''] = id.split(';');
  return { number: /^\d+$/.test(number) ? number : '0', cluster };
}

export function byCluster<Job extends Pick<BatchRef, 'id'>>(jobs: readonly Job[]): Map<string, Job[]> {
  return Map.groupBy(jobs, (job) => readId(job.id).cluster);
}

function option(flag: string, value: string): string {
  return value === '' ? '' : ` ${flag} ${quote(value)}`;
}
