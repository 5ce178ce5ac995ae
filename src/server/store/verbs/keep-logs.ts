import type { Db } from '../db.ts';
import { sql } from '../sql.ts';
import type { StoredLog } from './stored-report.ts';

export interface LogRow extends StoredLog {
  readonly submission: number;
  readonly idx: number;
  readonly attempt: number;
  /** The offset of the first byte of `data` in the whole output. */
  readonly start: number;
}

export async function keepLogs(db: Db, logs: readonly LogRow[]): Promise<void> {
  if (logs.length === 0) return;
  const given = db.table({
    l_submission: ['bigint', logs.map((log) => log.submission)],
    l_idx: ['bigint', logs.map((log) => log.idx)],
    l_attempt: ['bigint', logs.map((log) => log.attempt)],
    l_stream: ['text', logs.map((log) => log.stream)],
    l_start: ['bigint', logs.map((log) => log.start)],
    l_data: ['text', logs.map((log) => log.data)],
    l_digest: ['text', logs.map((log) => log.digest)],
    l_size: ['bigint', logs.map((log) => log.size)],
  });
  await db.run(sql`insert into logs (submission_id, idx, attempt, stream, start_offset, data, digest, size)
    select l_submission, l_idx, l_attempt, l_stream, l_start, l_data, l_digest, l_size from ${given} as given where true
    on conflict (submission_id, idx, attempt, stream) do update set start_offset = excluded.start_offset, data = excluded.data,
      digest = excluded.digest, size = excluded.size`);
}
