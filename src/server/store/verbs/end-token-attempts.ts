import type { Db } from '../db.ts';
import type { DocumentTask } from '../document-rows.ts';
import { sql } from '../sql.ts';

export interface TokenEnd {
  readonly task: DocumentTask;
  readonly outcome: string;
  readonly exitCode: number | null;
  readonly message: string | null;
}

/** Writes down how clients of the CouchDB face ended their attempts. */
export async function endAttempts(db: Db, ends: readonly TokenEnd[]): Promise<void> {
  if (ends.length === 0) return;
  const given = db.table({
    a_submission: ['bigint', ends.map(({ task }) => task.submission_id)],
    a_idx: ['bigint', ends.map(({ task }) => task.idx)],
    a_attempt: ['bigint', ends.map(({ task }) => task.attempt)],
    a_outcome: ['text', ends.map((end) => end.outcome)],
    a_session: ['text', ends.map(({ task }) => task.session_id)],
    a_started: ['bigint', ends.map(({ task }) => task.started_at)],
    a_exit: ['bigint', ends.map((end) => end.exitCode)],
    a_reason: ['text', ends.map((end) => (end.outcome === 'failed' ? 'exit-code' : null))],
    a_message: ['text', ends.map((end) => end.message)],
  });
  await db.run(sql`insert into attempts (submission_id, idx, attempt, outcome, session_id, started_at, ended_at, exit_code, reason, message)
    select a_submission, a_idx, a_attempt, a_outcome, a_session, a_started, cast(${db.now} as bigint), a_exit, a_reason, a_message
    from ${given} as given where true
    on conflict (submission_id, idx, attempt) do update set outcome = excluded.outcome, ended_at = excluded.ended_at,
      exit_code = excluded.exit_code, reason = excluded.reason, message = excluded.message`);
}
