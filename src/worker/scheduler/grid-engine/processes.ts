import { ask, innerSeconds, sectionOf } from '../answer.ts';
import type { BatchId, BatchRef, JobProcesses } from '../scheduler.ts';
import type { Shell } from '../shell.ts';
import { number, queueCommand } from './commands.ts';
import { findEntry, wholeQueue } from './queue.ts';
import { readSeconds, readSize } from './read-accounting.ts';

/** Where from qstat; CPU and memory (virtual) from the usage that the hosts report every half minute or so. */
export async function processesOnGridEngine(
  shell: Shell,
  jobs: readonly BatchRef[],
  timeoutMs: number,
): Promise<Map<BatchId, JobProcesses>> {
  if (jobs.length === 0) return new Map();
  const inner = innerSeconds(timeoutMs / 2);
  const ids = jobs.map((job) => number(job.id)).join(',');
  const sections = {
    queue: queueCommand(inner),
    usage: `export LC_ALL=C\nwithin ${inner} qstat -j ${ids}`,
    now: 'date +%Y-%m-%dT%H:%M:%S',
  };
  const answer = await ask(shell, { what: 'qstat', sections, timeoutMs });
  const queue = wholeQueue(sectionOf(answer, 'queue').code, sectionOf(answer, 'queue').stdout, answer.stderr);
  const usage = readUsage(sectionOf(answer, 'usage').stdout);
  // Both in the machine's own local time: the difference is right whatever its zone.
  const now = new Date(sectionOf(answer, 'now').stdout.trim()).getTime();
  return new Map(
    jobs.flatMap((job) => {
      const entry = findEntry(queue, job);
      const node = entry?.queue.split('@')[1];
      if (!entry || !node) return [];
      const elapsed = entry.startedAt ? Math.max(0, (now - entry.startedAt.getTime()) / 1000) : Number.NaN;
      const elapsedSeconds = Number.isNaN(elapsed) ? {} : { elapsedSeconds: elapsed };
      return [[job.id, { node, ...elapsedSeconds, ...usage.get(number(job.id)), processes: [] }] as const];
    }),
  );
}

/** `usage         1:            cpu=00:00:00, mem=0.00000 GB s, io=0.00002 GB, vmem=3.441M, maxvmem=3.441M` */
export function readUsage(text: string): Map<string, { cpuSeconds: number; rssBytes: number }> {
  const usages = new Map<string, { cpuSeconds: number; rssBytes: number }>();
  for (const block of text.split(/^={10,}$/m)) {
    const id = /^job_number:\s+(\d+)/m.exec(block)?.[1];
    const usage = /^usage\s+\d+:\s+cpu=([\d:]+),.*?\bvmem=([^,\s]+)/m.exec(block);
    if (id && usage) usages.set(id, { cpuSeconds: readSeconds(usage[1]), rssBytes: Math.round(readSize(usage[2])) });
  }
  return usages;
}
