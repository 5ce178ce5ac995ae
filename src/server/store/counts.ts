import type { RowState } from '../core/task.ts';
import type { Db } from './db.ts';
import { foldUsage } from './owner-usage.ts';
import { sql } from './sql.ts';

/** `n` tasks more (or fewer) of a submission are shown in a state. */
export interface Delta {
  readonly projectId: number;
  readonly submissionId: number;
  readonly state: RowState;
  readonly n: number;
}

/**
 * Counts by state are never scanned: every change writes its difference, as new rows, so that two servers do not wait
 * for each other; `foldCounts` adds them up now and then. What is read is the sum of both.
 */
export async function recordDeltas(db: Db, deltas: readonly Delta[]): Promise<void> {
  const sums = new Map<string, Delta>();
  for (const delta of deltas) {
    const key = `${delta.submissionId}/${delta.state}`;
    sums.set(key, { ...delta, n: delta.n + (sums.get(key)?.n ?? 0) });
  }
  const changed = [...sums.values()].filter((delta) => delta.n !== 0);
  if (changed.length === 0) return;
  const given = db.table({
    m_project: ['bigint', changed.map((delta) => delta.projectId)],
    m_submission: ['bigint', changed.map((delta) => delta.submissionId)],
    m_state: ['text', changed.map((delta) => delta.state)],
    m_n: ['bigint', changed.map((delta) => delta.n)],
  });
  // What runs is reckoned for its owner too, from when it began to when it ended (see owner-usage.ts).
  await db.run(sql`insert into count_deltas (project_id, submission_id, state, n, at, queue_id)
    select m_project, m_submission, m_state, m_n, cast(${db.now} as bigint),
      case when m_state = 'running' then (select queue_id from submissions where id = m_submission) end from ${given} as given`);
}

/** Has the dependencies on a submission looked at by the next fold, though nothing of it changed. */
export async function touchSubmissions(
  db: Db,
  submissions: readonly { projectId: number; submissionId: number }[],
): Promise<void> {
  if (submissions.length === 0) return;
  const given = db.table({
    m_project: ['bigint', submissions.map((s) => s.projectId)],
    m_submission: ['bigint', submissions.map((s) => s.submissionId)],
  });
  await db.run(
    sql`insert into count_deltas (project_id, submission_id, state, n) select m_project, m_submission, 'queued', 0 from ${given} as given`,
  );
}

interface DeltaRow {
  readonly project_id: number;
  readonly submission_id: number;
  readonly state: RowState;
  readonly n: number;
  readonly at: number | null;
  readonly queue_id: number | null;
}

/**
 * Moves what was written as differences into the counts and into what owners have used. Returns the submissions that
 * were touched, and whether something ended of an owner or project that may run so many only.
 */
export async function foldDeltas(db: Db, halfLifeMs: number): Promise<{ touched: number[]; madeRoom: boolean }> {
  const taken = await db.rows<DeltaRow>(
    sql`delete from count_deltas where id in (select id from count_deltas order by id limit 5000 ${db.lock.skipLocked})
      returning project_id, submission_id, state, n, at, queue_id`,
  );
  if (taken.length === 0) return { touched: [], madeRoom: false };
  await addCounts(
    db,
    taken.map((row) => ({ projectId: row.project_id, submissionId: row.submission_id, state: row.state, n: row.n })),
  );
  const changes = taken.flatMap(({ queue_id: queueId, n, at }) =>
    queueId === null ? [] : [{ queueId, n, at: at ?? 0 }],
  );
  const madeRoom = await foldUsage(db, changes, halfLifeMs);
  return { touched: [...new Set(taken.map((row) => row.submission_id))], madeRoom };
}

async function addCounts(db: Db, deltas: readonly Delta[]): Promise<void> {
  const sums = new Map<string, Delta>();
  for (const delta of deltas) {
    for (const submissionId of [delta.submissionId, 0]) {
      const key = `${delta.projectId}/${submissionId}/${delta.state}`;
      sums.set(key, { ...delta, submissionId, n: delta.n + (sums.get(key)?.n ?? 0) });
    }
  }
  // Everybody takes the rows in the same order, so that two servers that fold cannot lock each other out.
  const ordered = [...sums.entries()]
    .filter(([, delta]) => delta.n !== 0)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, delta]) => delta);
  if (ordered.length === 0) return;
  const given = db.table({
    m_project: ['bigint', ordered.map((delta) => delta.projectId)],
    m_submission: ['bigint', ordered.map((delta) => delta.submissionId)],
    m_state: ['text', ordered.map((delta) => delta.state)],
    m_n: ['bigint', ordered.map((delta) => delta.n)],
  });
  await db.run(sql`insert into state_counts (project_id, submission_id, state, n)
    select m_project, m_submission, m_state, m_n from ${given} as given where true
    on conflict (project_id, submission_id, state) do update set n = state_counts.n + excluded.n`);
}

/** Counts of some submissions, folded or not. */
export async function countsOf(db: Db, submissions: readonly number[]): Promise<Map<number, Record<RowState, number>>> {
  const ids = db.table({ m_id: ['bigint', submissions] });
  const rows = await db.rows<{ submission_id: number; state: RowState; n: number }>(sql`
    select submission_id, state, sum(n) as n from (
      select submission_id, state, n from state_counts where submission_id in (select m_id from ${ids} as a)
        and project_id in (select project_id from submissions where id in (select m_id from ${ids} as b))
      union all
      select submission_id, state, n from count_deltas where submission_id in (select m_id from ${ids} as c)
    ) as both_kinds group by submission_id, state`);
  const counts = new Map(submissions.map((id) => [id, noCounts()]));
  for (const row of rows) {
    const of = counts.get(row.submission_id);
    if (of) of[row.state] = Number(row.n);
  }
  return counts;
}

/** Counts of a whole project, or of all. */
export async function countsOfProjects(db: Db): Promise<Map<number, Record<RowState, number>>> {
  const rows = await db.rows<{ project_id: number; state: RowState; n: number }>(sql`
    select project_id, state, sum(n) as n from (
      select project_id, state, n from state_counts where submission_id = 0
      union all
      select project_id, state, n from count_deltas
    ) as both_kinds group by project_id, state`);
  const counts = new Map<number, Record<RowState, number>>();
  for (const row of rows) {
    const of = counts.get(row.project_id) ?? noCounts();
    of[row.state] = Number(row.n);
    counts.set(row.project_id, of);
  }
  return counts;
}

export function noCounts(): Record<RowState, number> {
  return { waiting: 0, queued: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0 };
}
