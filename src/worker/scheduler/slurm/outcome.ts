import { quote } from '../../transport/quote.ts';
import { ask, innerSeconds, sectionOf } from '../answer.ts';
import type { BatchEnding, BatchRef } from '../scheduler.ts';
import type { Shell } from '../shell.ts';
import { accountingById, readId, recordCommand } from './commands.ts';
import { readAccounting, readRecord } from './read-records.ts';
import { withStderr } from './states.ts';

export async function outcomeOnSlurm(shell: Shell, job: BatchRef, timeoutMs: number): Promise<BatchEnding | undefined> {
  const id = readId(job.id);
  const inner = innerSeconds(timeoutMs / 2);
  const sections = {
    record: recordCommand(id, inner),
    accounts: accountingById(id, inner),
    stderr: job.stderr === undefined ? ':' : `tail -c 16384 <${quote(job.stderr)} 2>/dev/null`,
  };
  const answer = await ask(shell, { what: 'scontrol', sections, timeoutMs });
  const accounted = readAccounting(sectionOf(answer, 'accounts').stdout).findLast(({ name }) => name === job.name);
  const ending = accounted?.ending ?? readRecord(sectionOf(answer, 'record').stdout, job.name);
  return ending && withStderr(ending, sectionOf(answer, 'stderr').stdout);
}
