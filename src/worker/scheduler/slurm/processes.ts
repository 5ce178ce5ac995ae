import { ask, innerSeconds, sectionOf, silent } from '../answer.ts';
import type { BatchId, BatchRef, JobProcesses } from '../scheduler.ts';
import type { Shell } from '../shell.ts';
import { byCluster, queueCommand, readId, usageCommand } from './commands.ts';
import { findEntry } from './queue.ts';
import { readElapsed, readQueue } from './read-queue.ts';

/** Where and how long from squeue; CPU and memory from sstat where the site's accounting gathers them. */
export async function processesOnSlurm(
  shell: Shell,
  jobs: readonly BatchRef[],
  timeoutMs: number,
): Promise<Map<BatchId, JobProcesses>> {
  const seconds = innerSeconds(timeoutMs / 2);
  const clusters = byCluster(jobs);
  const sections: Record<string, string> = {};
  for (const [cluster, those] of clusters) {
    const numbers = those.map((job) => readId(job.id).number);
    sections[`queue-${cluster}`] = queueCommand(cluster, seconds);
    sections[`usage-${cluster}`] = usageCommand(numbers, cluster, seconds);
  }
  if (jobs.length === 0) return new Map();
  const answer = await ask(shell, { what: 'squeue', sections, timeoutMs });
  const queues = new Map(
    [...clusters.keys()].map((cluster) => {
      const { code, stdout } = sectionOf(answer, `queue-${cluster}`);
      if (code !== 0) throw silent('squeue', `exit code ${code}`, answer.stderr);
      return [cluster, readQueue(stdout)];
    }),
  );
  return new Map(
    jobs.flatMap((job) => {
      const entry = findEntry(queues, job);
      if (entry?.status.state !== 'running') return [];
      const { number, cluster } = readId(job.id);
      const usage = readUsage(sectionOf(answer, `usage-${cluster}`).stdout).get(number);
      const elapsed = entry.elapsedSeconds === undefined ? {} : { elapsedSeconds: entry.elapsedSeconds };
      const node = entry.status.node === undefined ? {} : { node: entry.status.node };
      return [[job.id, { ...node, ...elapsed, ...usage, processes: [] }] as const];
    }),
  );
}

/** `21.batch|00:00:00|3328K` */
export function readUsage(text: string): Map<string, { cpuSeconds?: number; rssBytes?: number }> {
  const lines = text.split('\n').map((line) => line.split('|'));
  return new Map(
    lines.flatMap(([step = '', cpu = '', rss = '']) => {
      const number = /^(\d+)\.batch$/.exec(step)?.[1];
      if (number === undefined) return [];
      const cpuSeconds = readElapsed(cpu.replace(/\.\d+$/, ''));
      const rssBytes = readSize(rss);
      return [
        [
          number,
          { ...(cpuSeconds === undefined ? {} : { cpuSeconds }), ...(rssBytes === undefined ? {} : { rssBytes }) },
        ] as const,
      ];
    }),
  );
}

function readSize(text: string): number | undefined {
  const match = /^([\d.]+)([KMGTP]?)$/.exec(text.trim());
  if (!match) return undefined;
  return Math.round(Number(match[1]) * 1024 ** ' KMGTP'.indexOf(match[2] || ' '));
}
