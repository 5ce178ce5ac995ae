import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';
import { keepLogs } from './keep-logs.ts';

/** A piece of a running program's output, base64, at its offset in the whole. */
export interface LogGrowth {
  readonly submission: number;
  readonly idx: number;
  readonly attempt: number;
  readonly stream: 'stdout' | 'stderr';
  readonly offset: number;
  readonly data: string;
}

const KEPT_BYTES = 64 * 1024;

/** Of a running program's output the last 64 KiB are kept; its end brings the whole. Only the attempt's own worker may add to it. */
export async function keepRunningLogs(db: Db, session: string, growths: readonly LogGrowth[]): Promise<void> {
  for (const growth of growths) {
    const { submission, idx, attempt, stream } = growth;
    const own = await firstRow(
      db,
      sql`select 1 as one from tasks where submission_id = ${submission} and idx = ${idx} and attempt = ${attempt}
      and session_id = ${session} and state = 'running'`,
    );
    if (!own) continue;
    const before = await firstRow<{ start_offset: number; data: string | null }>(
      db,
      sql`select start_offset, data from logs
      where submission_id = ${submission} and idx = ${idx} and attempt = ${attempt} and stream = ${stream}`,
    );
    const { start, bytes } = grown(
      before ? { start: before.start_offset, bytes: Buffer.from(before.data ?? '', 'base64') } : undefined,
      growth,
    );
    await keepLogs(db, [
      {
        submission,
        idx,
        attempt,
        stream,
        start,
        data: bytes.toString('base64'),
        digest: null,
        size: start + bytes.length,
      },
    ]);
  }
}

function grown(
  before: { start: number; bytes: Buffer } | undefined,
  growth: LogGrowth,
): { start: number; bytes: Buffer } {
  const added = Buffer.from(growth.data, 'base64');
  const end = before ? before.start + before.bytes.length : 0;
  const joined = before && growth.offset >= before.start && growth.offset <= end;
  const start = joined ? before.start : growth.offset;
  const bytes = joined ? Buffer.concat([before.bytes.subarray(0, growth.offset - start), added]) : added;
  const cut = Math.max(0, bytes.length - KEPT_BYTES);
  return { start: start + cut, bytes: bytes.subarray(cut) };
}
