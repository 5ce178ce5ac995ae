import type { Gate } from '../../core/submission.ts';
import type { RowState } from '../../core/task.ts';
import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';
import { type CheckpointRow, getCheckpoints } from './checkpoints.ts';

export interface TaskListRow {
  readonly submission_id: number;
  readonly idx: number;
  readonly project: string;
  readonly name: string | null;
  readonly state: RowState;
  readonly gate: Gate;
  readonly attempt: number;
  readonly exit_code: number | null;
  readonly reason: string | null;
  readonly created_at: number;
  readonly started_at: number | null;
  readonly finished_at: number | null;
  readonly progress: string | null;
  readonly site_state: string | null;
  readonly worker_number: number | null;
  readonly host: string | null;
  /** When its worker was heard of, and whether it is a neighbour, whose host is `@name`. */
  readonly worker_seen: number | null;
  readonly worker_peer: string | null;
}

/** A token is called as its document is. */
const NAME = sql`case when d.id is null or d.id like 'pilotage:%' then s.name else d.id end as name`;
const TASK = sql`t.submission_id, t.idx, p.name as project, ${NAME}, t.state, s.gate, t.attempt, t.exit_code, t.reason, s.created_at, t.started_at, t.finished_at,
  t.progress, t.site_state, w.number as worker_number, w.host, w.seen_at as worker_seen, w.peer_id as worker_peer`;
const FROM = sql`from tasks t join submissions s on s.id = t.submission_id join projects p on p.id = s.project_id left join workers w on w.session_id = t.session_id
  left join documents d on d.submission_id = t.submission_id and d.idx = t.idx`;

export interface TaskFilter {
  readonly projectIds: readonly number[] | null;
  readonly submission: number | null;
  readonly state: RowState | null;
  readonly after: { readonly submission: number; readonly idx: number } | null;
  readonly limit: number;
}

export async function listTasks(db: Db, input: TaskFilter): Promise<TaskListRow[]> {
  const projects =
    input.projectIds === null
      ? sql``
      : sql`and s.project_id in (select m_id from ${db.table({ m_id: ['bigint', input.projectIds] })} as given)`;
  const submission = input.submission === null ? sql`` : sql`and t.submission_id = ${input.submission}`;
  const after =
    input.after === null ? sql`` : sql`and (t.submission_id, t.idx) > (${input.after.submission}, ${input.after.idx})`;
  return db.rows<TaskListRow>(sql`select ${TASK} ${FROM} where s.gate <> 'loading' ${submission} ${projects} ${stateIs(input.state)} ${after}
    order by t.submission_id, t.idx limit ${input.limit}`);
}

function stateIs(state: RowState | null) {
  switch (state) {
    case null:
      return sql``;
    case 'queued':
      return sql`and t.state = 'queued' and s.gate = 'open'`;
    case 'waiting':
      return sql`and (t.state = 'waiting' or (t.state = 'queued' and s.gate = 'waiting'))`;
    case 'failed':
      return sql`and t.state = 'failed' and t.state in ('failed', 'cancelled')`;
    case 'cancelled':
      return sql`and t.state = 'cancelled' and t.state in ('failed', 'cancelled')`;
    default:
      return sql`and t.state = ${state}`;
  }
}

export interface AttemptRow {
  readonly attempt: number;
  readonly outcome: string;
  readonly worker_number: number | null;
  readonly worker_peer: string | null;
  readonly host: string | null;
  readonly started_at: number | null;
  readonly ended_at: number | null;
  readonly exit_code: number | null;
  readonly signal: string | null;
  readonly reason: string | null;
  readonly message: string | null;
  readonly wall_seconds: number | null;
  readonly cpu_seconds: number | null;
  readonly peak_memory: number | null;
  readonly outputs: string | null;
  readonly result: string | null;
}

export interface TaskDetailRow extends TaskListRow {
  readonly project_id: number;
  readonly owner: string;
  readonly priority: number;
  readonly spec: string;
  readonly shape: string;
  readonly payload: string | null;
  readonly inputs: string | null;
  readonly failures: number;
  readonly losses: number;
  readonly planned_ends: number;
  readonly not_before: number | null;
  readonly reused_from: string | null;
  readonly attempts: readonly AttemptRow[];
  readonly checkpoints: readonly CheckpointRow[];
  readonly late: readonly { attempt: number; received_at: number; refusal: string; report: string }[];
}

export async function getTask(db: Db, input: { submission: number; idx: number }): Promise<TaskDetailRow | null> {
  const row = await firstRow<Omit<TaskDetailRow, 'attempts' | 'late' | 'checkpoints'>>(
    db,
    sql`select ${TASK}, s.project_id, s.owner, s.priority, s.spec, sh.key as shape, t.payload, t.inputs, t.failures, t.losses,
    t.planned_ends, t.reused_from, coalesce(t.not_before, s.not_before) as not_before ${FROM} join queues q on q.id = s.queue_id join shapes sh on sh.id = q.shape_id
    where t.submission_id = ${input.submission} and t.idx = ${input.idx} and s.gate <> 'loading'`,
  );
  if (!row) return null;
  const attempts =
    await db.rows<AttemptRow>(sql`select a.*, w.number as worker_number, w.peer_id as worker_peer, w.host from attempts a left join workers w on w.session_id = a.session_id
    where a.submission_id = ${input.submission} and a.idx = ${input.idx} order by a.attempt`);
  const late = await db.rows<
    TaskDetailRow['late'][number]
  >(sql`select attempt, received_at, refusal, report from late_reports
    where submission_id = ${input.submission} and idx = ${input.idx} order by id`);
  const checkpoints = await getCheckpoints(db, { tasks: [input] });
  return { ...row, attempts, late, checkpoints };
}

export interface ResultRow {
  readonly submission_id: number;
  readonly idx: number;
  readonly state: RowState;
  readonly gate: Gate;
  readonly attempt: number | null;
  readonly outputs: string | null;
}

/** Outputs of the attempt that counts: the one named, or the last that succeeded, or the last that left any. */
export async function listResults(
  db: Db,
  input: { submission: number; idx: number | null; attempt: number | null; after: number | null; limit: number },
): Promise<ResultRow[]> {
  const one = input.idx === null ? sql`` : sql`and t.idx = ${input.idx}`;
  const after = input.after === null ? sql`` : sql`and t.idx > ${input.after}`;
  const which = input.attempt === null ? sql`` : sql`and a.attempt = ${input.attempt}`;
  return db.rows<ResultRow>(sql`select t.submission_id, t.idx, t.state, s.gate, a.attempt, a.outputs from tasks t join submissions s on s.id = t.submission_id
    left join attempts a on a.submission_id = t.submission_id and a.idx = t.idx and a.attempt = (
      select a.attempt from attempts a where a.submission_id = t.submission_id and a.idx = t.idx ${which}
      order by case when a.outcome = 'succeeded' then 0 when a.outputs is not null then 1 else 2 end, a.attempt desc limit 1)
    where t.submission_id = ${input.submission} and s.gate <> 'loading' ${one} ${after} order by t.idx limit ${input.limit}`);
}

export interface StoredLogRow {
  readonly stream: 'stdout' | 'stderr';
  readonly attempt: number;
  readonly start_offset: number;
  readonly data: string | null;
  readonly digest: string | null;
  readonly size: number;
}

export interface LogsOfTask {
  readonly projectId: number;
  readonly state: RowState;
  readonly attempt: number;
  readonly logs: readonly StoredLogRow[];
}

/** Output of one attempt (null: the last), with what the task is doing now. */
export async function getLogs(
  db: Db,
  input: { submission: number; idx: number; attempt: number | null },
): Promise<LogsOfTask | null> {
  const task = await firstRow<{ project_id: number; state: RowState; attempt: number }>(
    db,
    sql`select s.project_id, t.state, t.attempt from tasks t join submissions s on s.id = t.submission_id
    where t.submission_id = ${input.submission} and t.idx = ${input.idx} and s.gate <> 'loading'`,
  );
  if (!task) return null;
  const attempt = input.attempt ?? task.attempt;
  const logs = await db.rows<StoredLogRow>(sql`select stream, attempt, start_offset, data, digest, size from logs
    where submission_id = ${input.submission} and idx = ${input.idx} and attempt = ${attempt} order by stream desc`);
  return { projectId: task.project_id, state: task.state, attempt, logs };
}

/** How many queued tasks of the same owner come before a submission's: between owners fair share decides. */
export async function queuedBefore(db: Db, input: { submission: number; priority: number }): Promise<number> {
  const row = await firstRow<{ n: number | null }>(
    db,
    sql`select sum(c.n) as n from submissions s join state_counts c on c.project_id = s.project_id and c.submission_id = s.id and c.state = 'queued'
    where s.owner = (select owner from submissions where id = ${input.submission}) and s.claimable = 1 and s.gate = 'open' and (s.priority > ${input.priority} or (s.priority = ${input.priority} and s.id < ${input.submission}))`,
  );
  return Number(row?.n ?? 0);
}

/** The first task of a submission that is in one of the states, in that order of states. */
export async function firstTask(
  db: Db,
  input: { submission: number; states: readonly RowState[] },
): Promise<number | null> {
  for (const state of input.states) {
    const row = await firstRow<{ idx: number }>(
      db,
      sql`select idx from tasks where submission_id = ${input.submission} and state = ${state} order by idx limit 1`,
    );
    if (row) return row.idx;
  }
  return null;
}
