import { ask, firstWords, innerSeconds, sectionOf, silent } from '../answer.ts';
import type { BatchId, BatchRef, CancelOutcome } from '../scheduler.ts';
import type { Shell } from '../shell.ts';
import { byCluster, cancelCommand, readId } from './commands.ts';
import { pollSlurm } from './queue.ts';

/** Looks first whose the ids are now: only what is still there under its own name is cancelled. */
export async function cancelSlurmJobs(
  shell: Shell,
  jobs: readonly BatchRef[],
  timeoutMs: number,
): Promise<Map<BatchId, CancelOutcome>> {
  const statuses = await pollSlurm(shell, jobs, timeoutMs);
  const isOver = (job: BatchRef): boolean => ['ended', 'gone'].includes(statuses.get(job.id)?.state ?? 'gone');
  const outcomes = new Map<BatchId, CancelOutcome>(jobs.filter(isOver).map((job) => [job.id, 'already-gone']));
  const left = jobs.filter((job) => !isOver(job));
  if (left.length === 0) return outcomes;
  const words = await scancel(shell, left, timeoutMs);
  for (const { id } of left) outcomes.set(id, readOutcome(words.get(readId(id).cluster) ?? '', readId(id).number));
  return outcomes;
}

async function scancel(shell: Shell, jobs: readonly BatchRef[], timeoutMs: number): Promise<Map<string, string>> {
  const sections: Record<string, string> = {};
  for (const [cluster, those] of byCluster(jobs)) {
    const numbers = those.map((job) => readId(job.id).number);
    sections[`cancel-${cluster}`] = cancelCommand(numbers, cluster, innerSeconds(timeoutMs));
  }
  const answer = await ask(shell, { what: 'scancel', sections, timeoutMs });
  return new Map(
    [...byCluster(jobs).keys()].map((cluster) => {
      const { code, stdout } = sectionOf(answer, `cancel-${cluster}`);
      const words = stdout + answer.stderr;
      if (code >= 124 || /unable to contact|timed out/i.test(words))
        throw silent('scancel', `exit code ${code}`, words);
      return [cluster, words];
    }),
  );
}

/** `scancel: error: Kill job error on job id 999: Invalid job id specified` */
export function readOutcome(words: string, number: string): CancelOutcome {
  const error = words.split('\n').find((line) => new RegExp(`error on job id ${number}:`).test(line));
  if (!error) return 'cancelled';
  return /invalid job id|already completing or completed/i.test(error) ? 'already-gone' : { failed: firstWords(error) };
}
