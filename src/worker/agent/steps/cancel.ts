import { messageOf } from '../../../ground/base/errors.ts';
import type { CancelOutcome } from '../../scheduler/scheduler.ts';
import { pause } from '../../staging/retry.ts';
import type { JournalEntry } from '../journal.ts';
import { refOf } from './await-end.ts';
import type { Context } from './context.ts';
import { withMachine } from './context.ts';
import { mergeRecord } from './merge.ts';
import { findSubmitted } from './submit.ts';

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 10_000;
/** A batch system that says it cancelled, and shows it running still, is asked again after so long. */
const ASK_AGAIN_MS = 30_000;

/** Ends it in the batch system with all its processes, however long that takes to be reached, and writes down what really happened. */
export async function cancel(context: Context, entry: JournalEntry): Promise<void> {
  const happened = await endThere(context, entry);
  if (!entry.spec.site?.job) return;
  const text = `cancelled: ${happened}`;
  const id = `${entry.name}-cancelled`;
  await mergeRecord(context, entry, [{ kind: 'note', id, at: new Date().toISOString(), text }]).catch(
    (error: unknown) =>
      context.log.warn(
        { task: entry.claim.task, error: messageOf(error) },
        'what became of a cancelled job could not be written down',
      ),
  );
}

async function endThere(context: Context, entry: JournalEntry): Promise<string> {
  const { machine } = context;
  if (entry.phase === 'staging') return 'it had not been submitted yet';
  if (entry.phase !== 'submitting' && entry.phase !== 'submitted') return 'it had ended already';
  const batchId = entry.batchId ?? (await withMachine(context, {}, () => findSubmitted(context, entry)));
  if (batchId === undefined) return 'it had not been submitted yet';
  const ref = refOf({ ...entry, batchId });
  const what = `batch job ${batchId} on ${machine.name}`;
  let askAt = 0;
  for (let wait = FIRST_PAUSE_MS; ; wait = Math.min(wait * 1.5, LONGEST_PAUSE_MS)) {
    if (performance.now() >= askAt) {
      const outcome = await withMachine(context, {}, () => machine.cancelJob(ref));
      const refusal = refusalOf(outcome);
      if (refusal !== undefined) return `${what} could not be ended: ${refusal}`;
      if (outcome === 'already-gone') return `${what} was over already`;
      askAt = performance.now() + ASK_AGAIN_MS;
    }
    const status = await withMachine(context, {}, () => machine.pollJob(ref));
    if (status?.state === 'ended' || status?.state === 'gone') return `${what} was ended`;
    await pause(wait, context.signal);
    context.signal.throwIfAborted();
  }
}

function refusalOf(outcome: CancelOutcome | undefined): string | undefined {
  return typeof outcome === 'object' ? outcome.failed : undefined;
}
