import { messageOf } from '../../../ground/base/errors.ts';
import type { JobRecord, RecordEntry, RecordedJob } from '../../../ground/protocol/job.ts';
import { workerCalls } from '../../../ground/protocol/worker-calls.ts';
import { retryWhileAway } from '../../staging/retry.ts';
import type { JournalEntry } from '../journal.ts';
import { uidOf } from '../read-record.ts';
import type { Context } from './context.ts';

/**
 * Brings the record home, before the result: whoever sees the job ended sees all of it. The same thing twice is once.
 * A record that the server does not take costs the job nothing but that.
 */
export async function merge(context: Context, entry: JournalEntry): Promise<JournalEntry> {
  context.show({ phase: 'merging' });
  const refusal = entry.spec.site?.job ? await tryToMerge(context, entry) : undefined;
  if (refusal === undefined || !entry.report) return context.keep({ ...entry, phase: 'reported' });
  const said = entry.report.message === undefined ? '' : `${entry.report.message}; `;
  const report = { ...entry.report, message: `${said}the record of what happened there was refused: ${refusal}` };
  return context.keep({ ...entry, phase: 'reported', report });
}

async function tryToMerge(context: Context, entry: JournalEntry): Promise<string | undefined> {
  try {
    await mergeRecord(context, entry, entry.entries ?? []);
    return undefined;
  } catch (error) {
    if (context.signal.aborted) throw error;
    context.log.error({ task: entry.claim.task, error: messageOf(error) }, 'the record of a job was refused');
    return messageOf(error);
  }
}

export async function mergeRecord(
  { client, signal, show }: Context,
  entry: JournalEntry,
  entries: readonly RecordEntry[],
): Promise<void> {
  const { project } = entry.claim;
  const number = entry.spec.site?.job?.number ?? '';
  const away = (why: string): void => show({ detail: `the server is away: ${why}` });
  const record = await retryWhileAway(
    () => client.call(workerCalls.jobRecord, { params: { project, number }, signal }),
    signal,
    away,
  );
  const body = withEntries(record, entry, entries);
  await retryWhileAway(() => client.call(workerCalls.mergeRecord, { params: { project }, body, signal }), signal, away);
}

function withEntries(record: JobRecord, entry: JournalEntry, entries: readonly RecordEntry[]): JobRecord {
  const [job] = record.jobs as [RecordedJob];
  const subJobs = (entry.subJobs ?? []).map(
    ({ id, command, ...sub }, at): RecordedJob => ({
      ...sub,
      uid: uidOf(job.uid, id),
      parent: job.uid,
      number: `${job.number}.${at + 1}`,
      owner: job.owner,
      createdAt: entry.startedAt ?? job.createdAt,
      entries: [],
      ...(command ? { command: [...command] } : {}),
    }),
  );
  return { ...record, jobs: [{ ...job, entries: [...entries] }, ...subJobs] } as JobRecord;
}
