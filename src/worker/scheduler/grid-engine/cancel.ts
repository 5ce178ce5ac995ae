import { ask, firstWords, innerSeconds, sectionOf, silent } from '../answer.ts';
import type { BatchId, BatchRef, CancelOutcome } from '../scheduler.ts';
import type { Shell } from '../shell.ts';
import { cancelledFile, number, queueCommand } from './commands.ts';
import { findEntry, wholeQueue } from './queue.ts';

/** Looks first whose the ids are now: only what is still there under its own name is deleted. */
export async function cancelOnGridEngine(
  shell: Shell,
  jobs: readonly BatchRef[],
  timeoutMs: number,
): Promise<Map<BatchId, CancelOutcome>> {
  if (jobs.length === 0) return new Map();
  const look = { queue: queueCommand(innerSeconds(timeoutMs)) };
  const seen = await ask(shell, { what: 'qstat', sections: look, timeoutMs });
  const queue = wholeQueue(sectionOf(seen, 'queue').code, sectionOf(seen, 'queue').stdout, seen.stderr);
  const left = jobs.filter((job) => !(findEntry(queue, job)?.state ?? 'z').includes('z'));
  const outcomes = new Map<BatchId, CancelOutcome>(jobs.map((job) => [job.id, 'already-gone']));
  if (left.length === 0) return outcomes;
  const marks = left.map((job) => `{ printf '' >${cancelledFile(job)}; } 2>/dev/null`);
  const ids = left.map((job) => number(job.id)).join(',');
  const sections = { qdel: `${marks.join('\n')}\nwithin ${innerSeconds(timeoutMs)} qdel ${ids} 2>&1` };
  const answer = await ask(shell, { what: 'qdel', sections, timeoutMs });
  const { code, stdout } = sectionOf(answer, 'qdel');
  const words = `${stdout}\n${answer.stderr}`;
  for (const { id } of left) outcomes.set(id, readOutcome(words, code, number(id)));
  return outcomes;
}

/** `alice has registered the job 14 for deletion`, `alice has deleted job 15`, `denied: job "999" does not exist` */
export function readOutcome(words: string, code: number, id: string): CancelOutcome {
  const line = words.split('\n').find((candidate) => new RegExp(`\\bjobs? "?${id}\\b`).test(candidate));
  if (line && /does not exist/i.test(line)) return 'already-gone';
  if (line && /registered|deleted|already in deletion/i.test(line)) return 'cancelled';
  if (line) return { failed: firstWords(line) };
  throw silent('qdel', `exit code ${code}`, words);
}
