import { type Gate, shownState } from '../core/submission.ts';
import type { AttemptState, Limits, Reason, RowState, TaskFacts } from '../core/task.ts';
import { recordDeltas } from './counts.ts';
import { type Db, firstRow } from './db.ts';
import { type Sql, sql } from './sql.ts';

/** A task as the verbs that change it see it, with what they need of its submission. */
export interface TaskRow {
  readonly submission_id: number;
  readonly idx: number;
  readonly project_id: number;
  readonly gate: Gate;
  readonly state: RowState;
  readonly attempt: number;
  readonly attempt_state: AttemptState;
  readonly session_id: string | null;
  readonly secret_hash: string | null;
  readonly failures: number;
  readonly losses: number;
  readonly planned_ends: number;
  readonly reason: Reason | null;
  readonly exit_code: number | null;
  readonly claimed_at: number | null;
  readonly started_at: number | null;
  readonly extras: number;
}

/** Bits of `submissions.extras`: what is more to do at a claim or report of such a task. */
export const EXTRAS = { from: 1, checkpoint: 2, reuse: 4, borrowed: 8 } as const;

/** The columns of `TaskRow`, from tasks as `t` joined with submissions as `s`. */
export const TASK_ROW: Sql = sql`t.submission_id, t.idx, s.project_id, s.gate, t.state, t.attempt, t.attempt_state, t.session_id,
  t.secret_hash, t.failures, t.losses, t.planned_ends, t.reason, t.exit_code, t.claimed_at, t.started_at, s.extras`;

export function toFacts(row: TaskRow): TaskFacts {
  const { state, attempt, attempt_state: attemptState, failures, losses, planned_ends: plannedEnds } = row;
  return { state, attempt, attemptState, failures, losses, plannedEnds };
}

/** What becomes of one task: everything of it that changes. */
export interface Move {
  readonly task: TaskRow;
  readonly state: RowState;
  readonly attemptState: AttemptState;
  readonly notBefore?: number;
  readonly reason?: Reason | null;
  readonly exitCode?: number | null;
  readonly startedAt?: number | null;
  readonly failures: number;
  readonly losses: number;
  readonly plannedEnds: number;
}

/** Carries out moves: rows, counts, and the queues that have something to claim again. The rows are locked already. */
export async function applyMoves(db: Db, moves: readonly Move[]): Promise<void> {
  if (moves.length === 0) return;
  await updateTasks(db, moves);
  await recordDeltas(
    db,
    moves.flatMap((move) => {
      const { project_id: projectId, submission_id: submissionId, gate } = move.task;
      return [
        { projectId, submissionId, state: shownState(move.task.state, gate), n: -1 },
        { projectId, submissionId, state: shownState(move.state, gate), n: 1 },
      ];
    }),
  );
  await makeClaimable(
    db,
    unique(moves.filter((move) => move.state === 'queued').map((move) => move.task.submission_id)),
  );
}

async function updateTasks(db: Db, moves: readonly Move[]): Promise<void> {
  const finished = (move: Move) =>
    move.state === 'succeeded' || move.state === 'failed' || move.state === 'cancelled' ? db.now : null;
  const given = db.table({
    m_submission: ['bigint', moves.map((m) => m.task.submission_id)],
    m_idx: ['bigint', moves.map((m) => m.task.idx)],
    m_state: ['text', moves.map((m) => m.state)],
    m_attempt_state: ['text', moves.map((m) => m.attemptState)],
    m_not_before: ['bigint', moves.map((m) => m.notBefore ?? null)],
    m_finished: ['bigint', moves.map(finished)],
    m_reason: ['text', moves.map((m) => m.reason ?? null)],
    m_exit: ['bigint', moves.map((m) => m.exitCode ?? null)],
    m_started: ['bigint', moves.map((m) => (m.startedAt === undefined ? m.task.started_at : m.startedAt))],
    m_failures: ['bigint', moves.map((m) => m.failures)],
    m_losses: ['bigint', moves.map((m) => m.losses)],
    m_ends: ['bigint', moves.map((m) => m.plannedEnds)],
  });
  await db.run(sql`update tasks set state = m_state, attempt_state = m_attempt_state, not_before = m_not_before,
      started_at = m_started, finished_at = m_finished, reason = m_reason, exit_code = m_exit,
      failures = m_failures, losses = m_losses, planned_ends = m_ends,
      revision = revision + 1, sequence = ${db.nextSequence}
    from ${given} as given where submission_id = m_submission and idx = m_idx`);
}

/**
 * Says that submissions have queued tasks again. Always an update, also when the flag stands already: it takes the
 * row's lock, so that a claim that found nothing cannot clear the flag of tasks that it does not see yet.
 */
export async function makeClaimable(db: Db, submissions: readonly number[]): Promise<void> {
  if (submissions.length === 0) return;
  const given = db.table({ m_id: ['bigint', submissions] });
  if (db.dialect === 'postgres') {
    // An update takes its rows in any order: everybody locks in the same one.
    await db.rows(
      sql`select id from submissions where id in (select m_id from ${given} as given) order by id ${db.lock.rows}`,
    );
  }
  await db.run(sql`update submissions set claimable = 1, waiting_since = case when claimable = 1 then waiting_since else ${db.now} end
    where id in (select m_id from ${given} as given)`);
}

export function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}

interface PolicySpec {
  readonly retry?: { limit?: number; backoffSeconds?: number; lostLimit?: number; endedLimit?: number };
}

/** The limits of a submission's tasks, from its spec. */
export async function limitsOf(db: Db, submission: number): Promise<Limits> {
  const row = await firstRow<{ spec: string }>(db, sql`select spec from submissions where id = ${submission}`);
  const { retry = {} } = JSON.parse(row?.spec ?? '{}') as PolicySpec;
  return {
    retries: retry.limit ?? 0,
    backoffMs: (retry.backoffSeconds ?? 1) * 1000,
    lost: retry.lostLimit ?? 3,
    ended: retry.endedLimit ?? 100,
  };
}

export async function limitsOfAll(db: Db, submissions: readonly number[]): Promise<Map<number, Limits>> {
  const limits = new Map<number, Limits>();
  for (const submission of unique(submissions)) limits.set(submission, await limitsOf(db, submission));
  return limits;
}
