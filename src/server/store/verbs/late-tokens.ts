import { parseExact } from '../../../ground/base/exact-json.ts';
import { claimOf, exitCodeOf, type Fields, isToken, tokenState } from '../../core/token.ts';
import type { Db } from '../db.ts';
import { type DocumentRow, type PastClaim, revisionOf } from '../document-rows.ts';
import { sql } from '../sql.ts';
import type { DocumentWrite } from './document-write.ts';
import type { StoredReport } from './stored-report.ts';

/**
 * A result whose token was given back to others meanwhile: refused, but never thrown away. It is known by the claim
 * that it was made under. `task accept` makes it count after all.
 */
export async function keepLateToken(db: Db, { row, ...write }: DocumentWrite & { row: DocumentRow }): Promise<void> {
  const { task } = row;
  if (!task || write.deleted || write.rev === null || write.rev.number >= revisionOf(row).number) return;
  const fields = parseExact(write.body) as Fields;
  const state = isToken(fields) ? tokenState(fields) : 'none';
  if (state !== 'done' && state !== 'error') return;
  const past = JSON.parse(row.claims ?? '[]') as PastClaim[];
  const mine =
    past.findLast((one) => one.claim === claimOf(fields)) ??
    past.findLast((one) => one.attempt < task.attempt) ??
    past.at(-1);
  if (!mine) return;
  const report: StoredReport & { document: string } = {
    submission: task.submission_id,
    idx: task.idx,
    attempt: mine.attempt,
    secretHash: '',
    outcome: state === 'done' ? 'succeeded' : 'failed',
    reason: state === 'done' ? null : 'exit-code',
    message: 'came from a PiCaS client after its token had been given back',
    exitCode: exitCodeOf(fields),
    signal: null,
    startedAt: null,
    wallSeconds: null,
    cpuSeconds: null,
    peakMemory: null,
    outputs: null,
    result: null,
    logs: [],
    digests: [],
    checkpoint: null,
    document: write.body,
  };
  await db.run(sql`insert into late_reports (submission_id, idx, attempt, received_at, refusal, session_id, report)
    values (${report.submission}, ${report.idx}, ${report.attempt}, ${db.now}, 'stale-attempt', null, ${JSON.stringify(report)})`);
}
