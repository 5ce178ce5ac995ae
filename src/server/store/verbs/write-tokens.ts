import type { RowState } from '../../core/task.ts';
import { claimOf, exitCodeOf, type Fields, type TokenState, tokenState } from '../../core/token.ts';
import { recordDeltas } from '../counts.ts';
import type { Db } from '../db.ts';
import { firstRow } from '../db.ts';
import { type DocumentTask, type PastClaim, SET_ASIDE_UNTIL, TASK_PREFIX } from '../document-rows.ts';
import { sql } from '../sql.ts';
import { applyMoves, type Move } from '../task-rows.ts';
import type { Decided, TokenWriter } from './document-write.ts';
import { endAttempts } from './end-token-attempts.ts';
import type { TaskLink } from './store-documents.ts';
import { queueOf } from './submissions.ts';
import { clearClaimable } from './take-tasks.ts';
import { holdAs, isHeldByClient } from './token-holders.ts';

export interface TokenResult {
  readonly links: ReadonlyMap<string, TaskLink>;
  readonly sessions: readonly string[];
  readonly submissions: readonly number[];
}

interface Acting extends Decided {
  readonly task: DocumentTask;
  readonly act: 'edit' | 'claim' | 'beat' | 'end' | 'give-back' | 'reset' | 'set-aside';
  readonly state: TokenState;
}

/** Carries out what was decided about tokens. All rows are locked. */
export async function writeTokens(db: Db, writer: TokenWriter, decided: readonly Decided[]): Promise<TokenResult> {
  const links = new Map<string, TaskLink>();
  const fresh = decided.filter((one) => one.token.kind === 'new');
  const gone = decided.flatMap((one) => (one.token.kind === 'drop' && one.row?.task ? [one.row.task] : []));
  const acting = decided.flatMap((one): Acting[] =>
    one.token.kind === 'act' && one.row?.task
      ? [{ ...one, task: one.row.task, act: one.token.act, state: tokenState(one.next) }]
      : [],
  );
  for (const group of groupsOf(fresh)) await insertTokens(db, writer, group, links);
  await drop(db, gone, decided, links);
  await carryOut(db, writer, acting, links);
  const touched = [...gone, ...acting.map((one) => one.task)];
  const sessions = touched.flatMap((task) => (task.state === 'running' && task.session_id ? [task.session_id] : []));
  return {
    links,
    sessions: [...new Set(sessions)],
    submissions: [...new Set([...links.values()].map((link) => link.submission))],
  };
}

/** Tokens that ask for the same come in one submission. */
function groupsOf(fresh: readonly Decided[]): Decided[][] {
  const groups = new Map<string, Decided[]>();
  for (const one of fresh) {
    const key = `${one.write.shapeKey}\n${one.write.spec}`;
    const group = groups.get(key) ?? [];
    group.push(one);
    groups.set(key, group);
  }
  return [...groups.values()];
}

const STATE: Readonly<Record<TokenState, RowState>> = {
  todo: 'queued',
  locked: 'running',
  done: 'succeeded',
  error: 'failed',
  none: 'waiting',
};

async function insertTokens(
  db: Db,
  writer: TokenWriter,
  group: readonly Decided[],
  links: Map<string, TaskLink>,
): Promise<void> {
  const [first] = group;
  if (!first) return;
  const queue = await queueOf(db, writer.projectId, writer.owner, first.write.shapeKey);
  const made = await firstRow<{ id: number }>(
    db,
    sql`insert into submissions (project_id, queue_id, owner, name, step, created_at, priority, tasks, gate, claimable, waiting_since, spec)
      values (${writer.projectId}, ${queue}, ${writer.owner}, ${group.length === 1 ? first.write.id.slice(0, 128) : null}, 0, ${db.now}, 0, ${group.length}, 'open', 1, ${db.now}, ${first.write.spec}) returning id`,
  );
  const submission = made?.id as number;
  const rows = await Promise.all(
    group.map(async (one, i) => ({ one, idx: i + 1, ...(await rowOf(db, writer, one.next)) })),
  );
  const given = db.table({
    i_idx: ['bigint', rows.map((row) => row.idx)],
    i_state: ['text', rows.map((row) => row.state)],
    i_attempt: ['bigint', rows.map((row) => row.attempt)],
    i_attempt_state: ['text', rows.map((row) => (row.state === 'running' ? 'open' : 'reported'))],
    i_session: ['text', rows.map((row) => row.session)],
    i_claimed: ['bigint', rows.map((row) => (row.attempt > 0 ? db.now : null))],
    i_finished: ['bigint', rows.map((row) => (row.state === 'succeeded' || row.state === 'failed' ? db.now : null))],
    i_not_before: ['bigint', rows.map((row) => (row.state === 'waiting' ? SET_ASIDE_UNTIL : null))],
    i_reason: ['text', rows.map((row) => (row.state === 'failed' ? 'exit-code' : null))],
    i_exit: ['bigint', rows.map((row) => row.exitCode)],
    i_payload: ['text', rows.map((row) => row.one.write.payload)],
  });
  await db.run(sql`insert into tasks (submission_id, idx, state, attempt, attempt_state, session_id, claimed_at, started_at, finished_at, not_before, reason, exit_code, payload, sequence)
    select cast(${submission} as bigint), i_idx, i_state, i_attempt, i_attempt_state, i_session, i_claimed, i_claimed, i_finished, i_not_before, i_reason, i_exit, i_payload, ${db.nextSequence}
    from ${given} as given`);
  await recordDeltas(
    db,
    rows.map((row) => ({ projectId: writer.projectId, submissionId: submission, state: row.state, n: 1 })),
  );
  for (const row of rows) {
    const lockUntil = row.state === 'running' ? db.now + writer.maxLockMs : null;
    const claims = row.state === 'running' ? remember([], 1, row.one.next) : null;
    links.set(row.one.write.id, { submission, idx: row.idx, revision: 1, attempt: row.attempt, claims, lockUntil });
  }
}

async function rowOf(db: Db, writer: TokenWriter, next: Fields) {
  const state = STATE[tokenState(next)];
  const isHeld = state === 'running';
  return {
    state,
    attempt: isHeld || state === 'succeeded' || state === 'failed' ? 1 : 0,
    session: isHeld ? await holdAs(db, writer, next) : null,
    exitCode: state === 'succeeded' || state === 'failed' ? exitCodeOf(next) : null,
  };
}

/** The tasks of tokens that are no more: cancelled, as by command. */
async function drop(
  db: Db,
  gone: readonly DocumentTask[],
  decided: readonly Decided[],
  links: Map<string, TaskLink>,
): Promise<void> {
  const live = gone.filter((task) => ['waiting', 'queued', 'running'].includes(task.state));
  await applyMoves(
    db,
    live.map((task) => move(task, 'cancelled', { attemptState: task.attempt === 0 ? 'reported' : 'closed' })),
  );
  await endAttempts(
    db,
    live
      .filter((task) => task.state === 'running')
      .map((task) => ({ task, outcome: 'cancelled', exitCode: null, message: 'its token was deleted' })),
  );
  // The deleted document keeps its task: without, the task would have a new one in its own name (see hideTasks).
  const moved = new Set(live);
  for (const { token, row, write } of decided) {
    const task = token.kind === 'drop' ? row?.task : null;
    if (!task || !(write.deleted || write.id.startsWith(TASK_PREFIX))) continue;
    const { submission_id: submission, idx, attempt } = task;
    const revision = task.revision + (moved.has(task) ? 1 : 0);
    links.set(write.id, { submission, idx, revision, attempt, claims: row?.claims ?? null, lockUntil: null });
  }
}

/** What a worker of ours runs may still be reported: no longer counted, but kept aside. */
function move(task: DocumentTask, state: RowState, more: Partial<Move>): Move {
  const { failures, losses, planned_ends: plannedEnds } = task;
  const attemptState = task.state === 'running' && !isHeldByClient(task) ? 'closed' : 'reported';
  return { task, state, attemptState, failures, losses, plannedEnds, ...more };
}

async function carryOut(
  db: Db,
  writer: TokenWriter,
  acting: readonly Acting[],
  links: Map<string, TaskLink>,
): Promise<void> {
  const claims = acting.filter((one) => one.act === 'claim' || (one.act === 'end' && one.task.state !== 'running'));
  const claimed = new Set(claims.map((one) => one.write.id));
  const sessions = await claimThese(db, writer, claims);
  const held = acting.map((one) =>
    claimed.has(one.write.id) ? { ...one, task: asClaimed(one.task, sessions.get(one.write.id)) } : one,
  );
  const moves = held.flatMap((one) => movesOf(one));
  await applyMoves(db, moves);
  await endAttempts(db, held.flatMap(endOf));
  await touch(
    db,
    held.filter((one) => one.act === 'edit' || one.act === 'beat'),
  );
  for (const one of held) {
    const isHeld = one.act === 'claim' || one.act === 'beat' || (one.act === 'edit' && one.task.state === 'running');
    const revision = one.task.revision + (one.act === 'claim' ? 0 : 1);
    const past = JSON.parse(one.row?.claims ?? '[]') as PastClaim[];
    links.set(one.write.id, {
      submission: one.task.submission_id,
      idx: one.task.idx,
      revision,
      attempt: one.task.attempt,
      claims: one.act === 'claim' ? remember(past, one.task.attempt, one.next) : (one.row?.claims ?? null),
      lockUntil: isHeld ? db.now + writer.maxLockMs : null,
    });
  }
  for (const one of held) if (one.act === 'beat') await holdAs(db, writer, one.next);
}

/** So many claims of one token are remembered, to know what comes too late. */
const REMEMBERED = 20;

function remember(past: readonly PastClaim[], attempt: number, next: Fields): string {
  return JSON.stringify([...past, { attempt, claim: claimOf(next) }].slice(-REMEMBERED));
}

/** The row as the claim left it. */
function asClaimed(task: DocumentTask, session: string | undefined): DocumentTask {
  return {
    ...task,
    session_id: session ?? null,
    state: 'running',
    attempt: task.attempt + 1,
    attempt_state: 'open',
    revision: task.revision + 1,
  };
}

/** As a worker's claim, but of tasks that the client chose. Nobody reports them by their secret: the revision is the fence. */
async function claimThese(db: Db, writer: TokenWriter, claims: readonly Acting[]): Promise<Map<string, string>> {
  const sessions = new Map<string, string>();
  if (claims.length === 0) return sessions;
  for (const one of claims) sessions.set(one.write.id, await holdAs(db, writer, one.next));
  const given = db.table({
    m_submission: ['bigint', claims.map((one) => one.task.submission_id)],
    m_idx: ['bigint', claims.map((one) => one.task.idx)],
    m_session: ['text', claims.map((one) => sessions.get(one.write.id) ?? '')],
  });
  await db.run(sql`update tasks set state = 'running', attempt = attempt + 1, attempt_state = 'open', session_id = m_session, exchange_number = null,
      secret_hash = null, claimed_at = ${db.now}, started_at = ${db.now}, finished_at = null, not_before = null, reason = null, exit_code = null,
      progress = null, site_state = null, revision = revision + 1, sequence = ${db.nextSequence}
    from ${given} as given where submission_id = m_submission and idx = m_idx`);
  await recordDeltas(
    db,
    claims.flatMap(({ task }) => [
      { projectId: task.project_id, submissionId: task.submission_id, state: task.state, n: -1 },
      { projectId: task.project_id, submissionId: task.submission_id, state: 'running' as const, n: 1 },
    ]),
  );
  for (const submission of new Set(claims.map((one) => one.task.submission_id))) await clearClaimable(db, submission);
  return sessions;
}

function movesOf(one: Acting): Move[] {
  const { task, next } = one;
  const afresh = { failures: 0, losses: 0, plannedEnds: 0 };
  switch (one.act) {
    case 'end': {
      const exitCode = exitCodeOf(next);
      const failed = one.state === 'error';
      const failures = task.failures + (failed ? 1 : 0);
      return [move(task, failed ? 'failed' : 'succeeded', { exitCode, reason: failed ? 'exit-code' : null, failures })];
    }
    case 'give-back':
      return [move(task, 'queued', {})];
    case 'reset':
      return [move(task, 'queued', afresh)];
    case 'set-aside':
      return [move(task, 'waiting', { notBefore: SET_ASIDE_UNTIL, ...afresh })];
    default:
      return [];
  }
}

function endOf(one: Acting) {
  const { task, next } = one;
  if (one.act === 'end') {
    const outcome = one.state === 'error' ? 'failed' : 'succeeded';
    return [{ task, outcome, exitCode: exitCodeOf(next), message: lastError(next) }];
  }
  if (task.state !== 'running' || (one.act !== 'give-back' && one.act !== 'set-aside')) return [];
  return [{ task, outcome: 'released', exitCode: null, message: 'a client gave its token back' }];
}

function lastError(fields: Fields): string | null {
  const last: unknown = Array.isArray(fields.error) ? fields.error.at(-1) : undefined;
  if (typeof last !== 'object' || last === null || !('message' in last)) return null;
  return String(last.message).slice(0, 2000);
}

/** The document changed, its task did not: its revision counts all the same. */
async function touch(db: Db, acting: readonly Acting[]): Promise<void> {
  if (acting.length === 0) return;
  const given = db.table({
    m_submission: ['bigint', acting.map((one) => one.task.submission_id)],
    m_idx: ['bigint', acting.map((one) => one.task.idx)],
  });
  await db.run(sql`update tasks set revision = revision + 1, sequence = ${db.nextSequence}
    where (submission_id, idx) in (select m_submission, m_idx from ${given} as given)`);
}
