import { messageOf, PilotageError } from '../../../ground/base/errors.ts';
import { batchJobOf } from '../batch-job.ts';
import { FILES } from '../job-script.ts';
import type { JournalEntry } from '../journal.ts';
import { lookAtJobs } from '../look-at-jobs.ts';
import { type Context, JobFault, withMachine } from './context.ts';

/**
 * Submits it, once. What was tried before and is not known to have failed is looked for by its name: in its own
 * directory, where it leaves its mark as soon as it starts, and in the batch system.
 */
export async function submit(context: Context, entry: JournalEntry, wasTried: boolean): Promise<JournalEntry> {
  context.show({ phase: 'submitting' });
  let mayBeThere = wasTried;
  return withMachine(context, {}, async () => {
    const found = mayBeThere ? await findSubmitted(context, entry) : undefined;
    if (found) return context.keep({ ...entry, phase: 'submitted', batchId: found, submittedAt: now() });
    mayBeThere = true;
    const { scheduler, transport, site } = context.machine;
    const job = batchJobOf(site, entry);
    const submitted = await scheduler.submit(transport, job, `${entry.directory}/${FILES.script}`);
    if (!submitted.ok)
      throw new JobFault('start-failed', `'${context.machine.name}' did not take the job: ${submitted.reason}`);
    return context.keep({ ...entry, phase: 'submitted', batchId: submitted.id, submittedAt: now() });
  });
}

/** Rejects while the batch system does not answer: a second submission is never tried on a guess. */
export async function findSubmitted({ machine, log }: Context, entry: JournalEntry) {
  const { name } = entry;
  const directory = entry.directory as string;
  const found = await machine.scheduler.find(machine.transport, [{ name, directory }]);
  const id = found.get(name);
  if (id !== undefined) {
    log.info({ task: entry.claim.task, batchId: id }, 'found again what had been submitted');
    return id;
  }
  const [look] = await lookAtJobs(
    machine.transport,
    [{ directory, offsets: { stdout: 0, stderr: 0 } }],
    AbortSignal.timeout(60_000),
  ).catch((error: unknown) => {
    // Of a kind that is tried again: on a guess it would be given up, or submitted twice.
    const message = `it cannot be seen whether job ${name} ran: ${messageOf(error)}`;
    throw error instanceof PilotageError ? error : new PilotageError('scheduler-silent', message, { cause: error });
  });
  // It ran, and the batch system has forgotten it: there is nothing left to ask for but its files.
  return look?.hasStarted ? ('unknown' as NonNullable<typeof id>) : undefined;
}

function now(): string {
  return new Date().toISOString();
}
