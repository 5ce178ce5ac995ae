import { DEFAULT_HALF_LIFE_MS } from '../../core/fair-share.ts';
import { countsOf, foldDeltas, recordDeltas, touchSubmissions } from '../counts.ts';
import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';
import { applyMoves, type Move, TASK_ROW, type TaskRow } from '../task-rows.ts';
import { keepEnds } from './workers.ts';

/** Adds up counts, and opens or ends what waited for the submissions that changed. Returns those submissions. */
export async function foldCounts(
  db: Db,
  input?: { halfLifeMs: number },
): Promise<{ touched: readonly number[]; released: number; madeRoom: boolean }> {
  const { touched, madeRoom } = await foldDeltas(db, input?.halfLifeMs ?? DEFAULT_HALF_LIFE_MS);
  if (touched.length === 0) return { touched, released: 0, madeRoom };
  const given = db.table({ m_id: ['bigint', touched] });
  // One that was forgotten has no tasks any more, which is not to say that they succeeded.
  const watched = await db.rows<{ id: number }>(
    sql`select id from submissions where has_dependents = 1 and gate <> 'loading' and id in (select m_id from ${given} as given)`,
  );
  let released = 0;
  for (const { id } of watched) released += await settleDependents(db, id);
  return { touched, released, madeRoom };
}

interface DependencyRow {
  readonly submission_id: number;
  readonly on_submission: number;
  readonly on_idx: number;
}

/** Looks at every open dependency on a submission: fulfilled, failed, or not yet decided. */
async function settleDependents(db: Db, id: number): Promise<number> {
  const open =
    await db.rows<DependencyRow>(sql`select d.submission_id, d.on_submission, d.on_idx from dependencies d join submissions s on s.id = d.submission_id
    where d.on_submission = ${id} and d.done = 0 and s.gate <> 'loading'`);
  if (open.length === 0) return 0;
  const counts = (await countsOf(db, [id])).get(id);
  let released = 0;
  for (const dependency of open) {
    const outcome = dependency.on_idx < 0 ? ofSubmission(counts) : await ofTask(db, id, dependency.on_idx);
    if (outcome === 'succeeded') released += await fulfil(db, dependency);
    if (outcome === 'failed') await endSubmission(db, { id: dependency.submission_id, as: 'failed' });
  }
  return released;
}

function ofSubmission(counts: Record<string, number> | undefined): 'succeeded' | 'failed' | 'open' {
  if (!counts) return 'open';
  if ((counts.waiting ?? 0) + (counts.queued ?? 0) + (counts.running ?? 0) > 0) return 'open';
  return (counts.failed ?? 0) + (counts.cancelled ?? 0) > 0 ? 'failed' : 'succeeded';
}

async function ofTask(db: Db, submission: number, idx: number): Promise<'succeeded' | 'failed' | 'open'> {
  const task = await firstRow<{ state: string }>(
    db,
    sql`select state from tasks where submission_id = ${submission} and idx = ${idx}`,
  );
  if (task?.state === 'succeeded') return 'succeeded';
  return task?.state === 'failed' || task?.state === 'cancelled' ? 'failed' : 'open';
}

async function fulfil(db: Db, dependency: DependencyRow): Promise<number> {
  const { submission_id: id, on_submission: on, on_idx: idx } = dependency;
  const done = await db.run(
    sql`update dependencies set done = 1 where submission_id = ${id} and on_submission = ${on} and on_idx = ${idx} and done = 0`,
  );
  if (done === 0) return 0;
  await db.run(sql`update submissions set waiting_for = waiting_for - 1 where id = ${id}`);
  return releaseGate(db, id);
}

/** While the gate opens no task behind it changes, or its counts would be wrong ever after. Locks nothing when it is open. */
export async function lockWaitingGate(db: Db, id: number): Promise<void> {
  await db.rows(sql`select id from submissions where id = ${id} and gate = 'waiting' ${db.lock.rows}`);
}

/** Opens the gate of a submission that waits for nothing any more. */
async function releaseGate(db: Db, id: number): Promise<number> {
  await lockWaitingGate(db, id);
  const row = await firstRow<{ project_id: number; n: number }>(
    db,
    sql`update submissions set gate = 'open', claimable = 1, waiting_since = ${db.now}, opened = ${db.nextSequence}
    where id = ${id} and gate = 'waiting' and waiting_for = 0 and ending is null and (not_before is null or not_before <= ${db.now})
    returning project_id, (select count(*) from tasks where submission_id = submissions.id and state = 'queued') as n`,
  );
  if (!row) return 0;
  await recordDeltas(db, [
    { projectId: row.project_id, submissionId: id, state: 'waiting', n: -row.n },
    { projectId: row.project_id, submissionId: id, state: 'queued', n: row.n },
  ]);
  return row.n;
}

/** Lets go what waited for a time: submissions, and single tasks after their back-off. Returns how many tasks are queued now. */
export async function releaseDue(db: Db): Promise<number> {
  const gates = await db.rows<{ id: number }>(
    // 'open' is ruled out in the words of the index: SQLite takes it only then.
    sql`select id from submissions where gate = 'waiting' and gate <> 'open' and waiting_for = 0 and ending is null
      and (not_before is null or not_before <= ${db.now}) order by id limit 100`,
  );
  let released = 0;
  for (const { id } of gates) released += await releaseGate(db, id);
  const of = db.dialect === 'postgres' ? sql`for update of t skip locked` : sql``;
  const tasks = await db.rows<TaskRow>(sql`select ${TASK_ROW} from tasks t join submissions s on s.id = t.submission_id
    where t.state = 'waiting' and t.not_before <= ${db.now} order by t.not_before limit 1000 ${of}`);
  await applyMoves(
    db,
    tasks.map(
      (task): Move => ({
        task,
        state: 'queued',
        attemptState: task.attempt_state,
        reason: task.reason,
        exitCode: task.exit_code,
        failures: task.failures,
        losses: task.losses,
        plannedEnds: task.planned_ends,
      }),
    ),
  );
  return released + tasks.length;
}

/** From here on nothing of the submission is claimed; `endChunk` ends its tasks. */
export async function endSubmission(db: Db, input: { id: number; as: 'failed' | 'cancelled' }): Promise<void> {
  await db.run(sql`update submissions set ending = ${input.as} where id = ${input.id} and ending is null`);
}

/**
 * Ends up to 10,000 unfinished tasks of a submission that is ending. `ended` is 0 only when there is nothing left to do.
 * The submission itself is not locked before its tasks: reports lock tasks first.
 */
export async function endChunk(
  db: Db,
): Promise<{ ended: number; sessions: readonly string[]; submissions: readonly number[] }> {
  await onlyOneEnds(db);
  const ending = await db.rows<{
    id: number;
    project_id: number;
    ending: 'failed' | 'cancelled';
  }>(sql`select id, project_id, ending from submissions
    where ending is not null order by id limit 1`);
  const [submission] = ending;
  if (!submission) return { ended: 0, sessions: [], submissions: [] };
  const result = await endTasks(db, { submission: submission.id, idx: null, as: submission.ending, limit: 10_000 });
  if (result.ended === 0) {
    await db.run(sql`update submissions set ending = null, claimable = 0 where id = ${submission.id}`);
    await touchSubmissions(db, [{ projectId: submission.project_id, submissionId: submission.id }]);
  }
  return { ...result, ended: Math.max(1, result.ended), submissions: [submission.id] };
}

/** Of several servers one ends at a time: another would find rows locked, and take them for the last ones. */
async function onlyOneEnds(db: Db): Promise<void> {
  if (db.dialect === 'postgres') await db.rows(sql`select pg_advisory_xact_lock(7302)`);
}

/** Cancels (or fails for a dependency) one task or some of a submission; the attempts that run are closed. Their workers are to be alerted. */
export async function endTasks(
  db: Db,
  input: { submission: number; idx: number | null; as: 'failed' | 'cancelled'; limit: number; why?: string },
): Promise<{ ended: number; sessions: readonly string[] }> {
  const one = input.idx === null ? sql`` : sql`and t.idx = ${input.idx}`;
  const of = db.dialect === 'postgres' ? sql`for update of t` : sql``;
  await lockWaitingGate(db, input.submission);
  const tasks = await db.rows<TaskRow>(sql`select ${TASK_ROW} from tasks t join submissions s on s.id = t.submission_id
    where t.submission_id = ${input.submission} ${one} and t.state in ('waiting', 'queued', 'running') order by t.idx limit ${input.limit} ${of}`);
  const running = tasks.filter((task) => task.state === 'running');
  await applyMoves(
    db,
    tasks.map(
      (task): Move => ({
        task,
        state: input.as,
        attemptState: task.attempt === 0 ? 'reported' : 'closed',
        reason: input.as === 'failed' ? 'dependency-failed' : null,
        failures: task.failures,
        losses: task.losses,
        plannedEnds: task.planned_ends,
      }),
    ),
  );
  await keepEnds(db, running, 'cancelled', input.why ?? 'cancelled by command');
  const sessions = [...new Set(running.flatMap((task) => (task.session_id === null ? [] : [task.session_id])))].sort();
  return { ended: tasks.length, sessions };
}
