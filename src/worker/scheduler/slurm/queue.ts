import { ask, innerSeconds, sectionOf, silent } from '../answer.ts';
import type { BatchId, BatchRef, BatchStatus } from '../scheduler.ts';
import type { Shell } from '../shell.ts';
import { byCluster, queueCommand, readId } from './commands.ts';
import { type QueueEntry, readQueue } from './read-queue.ts';

export async function pollSlurm(
  shell: Shell,
  jobs: readonly BatchRef[],
  timeoutMs: number,
): Promise<Map<BatchId, BatchStatus>> {
  if (jobs.length === 0) return new Map();
  const queues = await readQueues(shell, [...byCluster(jobs).keys()], timeoutMs);
  return new Map(jobs.map((job) => [job.id, findEntry(queues, job)?.status ?? { state: 'gone' }]));
}

/** An id under another name is somebody else's: the cluster was built anew since. */
export function findEntry(queues: ReadonlyMap<string, QueueEntry[]>, job: BatchRef): QueueEntry | undefined {
  const { number, cluster } = readId(job.id);
  return queues.get(cluster)?.find((entry) => entry.id === number && entry.name === job.name);
}

async function readQueues(
  shell: Shell,
  clusters: readonly string[],
  timeoutMs: number,
): Promise<Map<string, QueueEntry[]>> {
  const inner = innerSeconds(timeoutMs / clusters.length);
  const sections = Object.fromEntries(clusters.map((cluster) => [`queue-${cluster}`, queueCommand(cluster, inner)]));
  const answer = await ask(shell, { what: 'squeue', sections, timeoutMs });
  return new Map(
    clusters.map((cluster) => {
      const { code, stdout } = sectionOf(answer, `queue-${cluster}`);
      // It is 1 for a silent controller as for anything else: no answer, then.
      if (code !== 0) throw silent('squeue', `exit code ${code}`, answer.stderr);
      return [cluster, readQueue(stdout)];
    }),
  );
}
