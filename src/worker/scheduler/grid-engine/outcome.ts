import { quote } from '../../transport/quote.ts';
import { ask, innerSeconds, sectionOf } from '../answer.ts';
import type { BatchEnding, BatchRef } from '../scheduler.ts';
import type { Shell } from '../shell.ts';
import { cancelledFile, number, queueCommand } from './commands.ts';
import { findEntry } from './queue.ts';
import { endingFrom } from './read-accounting.ts';
import { readQstat } from './read-queue.ts';

/** The accounting file is written some seconds after the end (accounting_flush_time): who gets nothing asks again. */
export async function outcomeOnGridEngine(
  shell: Shell,
  job: BatchRef,
  timeoutMs: number,
): Promise<BatchEnding | undefined> {
  const inner = innerSeconds(timeoutMs / 2);
  const sections = {
    accounts: `export LC_ALL=C\nwithin ${inner} qacct -j ${number(job.id)}`,
    cancelled: `[ -e ${cancelledFile(job)} ]`,
    queue: queueCommand(inner),
    stderr: job.stderr === undefined ? ':' : `tail -c 16384 <${quote(job.stderr)} 2>/dev/null`,
  };
  const answer = await ask(shell, { what: 'qacct', sections, timeoutMs });
  const text = (name: string): string => sectionOf(answer, name).stdout;
  const wasCancelled = sectionOf(answer, 'cancelled').code === 0;
  const ending = endingFrom(text('accounts'), job.name, text('stderr'), wasCancelled);
  if (ending || !wasCancelled) return ending;
  // Deleted while it waited: it never gets a record.
  const queue = sectionOf(answer, 'queue').code === 0 ? readQstat(text('queue')) : undefined;
  if (!queue || !isOver(findEntry(queue, job)?.state)) return undefined;
  return { cause: 'cancelled', words: 'deleted; the accounting has no record of it' };
}

function isOver(state: string | undefined): boolean {
  return state === undefined || state.includes('z');
}
