import type { Gate } from '../../core/submission.ts';
import type { RowState } from '../../core/task.ts';
import { countsOf } from '../counts.ts';
import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';

export interface SubmissionRow {
  readonly id: number;
  readonly project_id: number;
  readonly project: string;
  readonly name: string | null;
  readonly owner: string;
  readonly tasks: number;
  readonly reused: number;
  readonly extras: number;
  readonly question: string | null;
  readonly priority: number;
  readonly gate: Gate;
  readonly ending: string | null;
  readonly not_before: number | null;
  readonly created_at: number;
  readonly waiting_for: number;
  readonly spec: string;
  readonly shape: string;
  readonly counts: Record<RowState, number>;
  readonly after: readonly { submission: number; idx: number | null; done: boolean }[];
  /** Null of one that is being removed, because nobody completed it. */
  readonly request_id: string | null;
}

const SUBMISSION = sql`select s.*, p.name as project, sh.key as shape from submissions s join projects p on p.id = s.project_id
  join queues q on q.id = s.queue_id join shapes sh on sh.id = q.shape_id`;

type Bare = Omit<SubmissionRow, 'counts' | 'after'>;

export async function getSubmissions(db: Db, input: { ids: readonly number[] }): Promise<SubmissionRow[]> {
  const given = db.table({ m_id: ['bigint', input.ids] });
  return complete(
    db,
    await db.rows<Bare>(sql`${SUBMISSION} where s.id in (select m_id from ${given} as given) order by s.id`),
  );
}

/** The submissions of one request, loading or not. */
export async function getRequest(db: Db, input: { id: number }): Promise<SubmissionRow[]> {
  return complete(
    db,
    await db.rows<Bare>(
      sql`${SUBMISSION} where s.request_id = (select request_id from submissions where id = ${input.id}) order by s.step`,
    ),
  );
}

/** Newest first. `projectIds` null is all. */
export async function listSubmissions(
  db: Db,
  input: { projectIds: readonly number[] | null; before: number | null; limit: number },
): Promise<SubmissionRow[]> {
  const projects =
    input.projectIds === null
      ? sql``
      : sql`and s.project_id in (select m_id from ${db.table({ m_id: ['bigint', input.projectIds] })} as given)`;
  const before = input.before === null ? sql`` : sql`and s.id < ${input.before}`;
  return complete(
    db,
    await db.rows<Bare>(
      sql`${SUBMISSION} where s.gate <> 'loading' ${projects} ${before} order by s.id desc limit ${input.limit}`,
    ),
  );
}

async function complete(db: Db, rows: readonly Bare[]): Promise<SubmissionRow[]> {
  if (rows.length === 0) return [];
  const ids = rows.map((row) => row.id);
  const counts = await countsOf(db, ids);
  const given = db.table({ m_id: ['bigint', ids] });
  const dependencies = await db.rows<{
    submission_id: number;
    on_submission: number;
    on_idx: number;
    done: number;
  }>(sql`
    select submission_id, on_submission, on_idx, done from dependencies where submission_id in (select m_id from ${given} as given) order by on_submission, on_idx`);
  return rows.map((row) => ({
    ...row,
    counts: counts.get(row.id) as Record<RowState, number>,
    after: dependencies
      .filter((d) => d.submission_id === row.id)
      .map((d) => ({ submission: d.on_submission, idx: d.on_idx < 0 ? null : d.on_idx, done: d.done === 1 })),
  }));
}

export async function getSpecs(
  db: Db,
  input: { ids: readonly number[] },
): Promise<Array<{ id: number; spec: string }>> {
  const given = db.table({ m_id: ['bigint', input.ids] });
  return db.rows(sql`select id, spec from submissions where id in (select m_id from ${given} as given)`);
}

/** Is there anything to claim, as far as the flags of submissions say. */
export async function anyClaimable(db: Db): Promise<boolean> {
  return (
    (await firstRow(db, sql`select 1 as one from submissions where claimable = 1 and gate = 'open' limit 1`)) !==
    undefined
  );
}
