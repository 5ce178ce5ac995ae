import type { LeaseSettings } from '../../core/lease.ts';
import { judgeLoss } from '../../core/task.ts';
import { type Db, firstRow } from '../db.ts';
import { sha256 } from '../secrets.ts';
import { type Sql, sql } from '../sql.ts';
import { applyMoves, limitsOfAll, type Move, TASK_ROW, type TaskRow, toFacts } from '../task-rows.ts';

export interface WorkerRow {
  readonly session_id: string;
  readonly number: number;
  readonly secret_hash: string;
  readonly token_id: number;
  readonly name: string;
  readonly host: string;
  readonly pid: number;
  readonly zone: string | null;
  readonly version: string;
  readonly kinds: string;
  readonly total: string;
  readonly labels: string;
  readonly projects: string | null;
  readonly registered_at: number;
  readonly seen_at: number;
  readonly lease_until: number;
  readonly ends_at: number | null;
  readonly state: 'alive' | 'lost' | 'ended';
  readonly instruction: 'work' | 'drain' | 'stop';
  readonly exchange_number: number;
  readonly attention: number;
  readonly follow_until: number;
  readonly reserved_queue: number | null;
  readonly batch_hold: number;
  /** The submission that it came as, if it is a pilot. */
  readonly pilot: number | null;
  /** Set where it is a neighbour, which runs what it claims on workers of its own, or of its neighbours. */
  readonly peer_id: string | null;
}

/** The session that a worker had before, and what of it the worker still has in its hands. */
export interface OldSession {
  readonly session: string;
  readonly secretHash: string;
  readonly held: readonly { readonly submission: number; readonly idx: number; readonly attempt: number }[];
}

export interface NewWorker {
  readonly session: string;
  readonly secretHash: string;
  readonly tokenId: number;
  readonly name: string;
  readonly host: string;
  readonly pid: number;
  readonly zone: string | null;
  /** JSON: the addresses where it serves its cache to others of its zone. */
  readonly share: string | null;
  readonly version: string;
  readonly kinds: readonly string[];
  /** JSON. */
  readonly total: string;
  /** JSON. */
  readonly labels: string;
  readonly projects: readonly number[] | null;
  readonly remainingSeconds: number | null;
  readonly batchHold?: boolean;
  readonly pilot?: number | null;
  readonly peer?: string | null;
  readonly replaces: OldSession | null;
  readonly lease: LeaseSettings;
}

export async function findWorker(db: Db, session: string): Promise<WorkerRow | undefined> {
  return firstRow<WorkerRow>(db, sql`select * from workers where session_id = ${session}`);
}

/** Everybody locks workers first, then tasks, then submissions, each in order: so two servers cannot lock each other out. */
export async function lockWorker(db: Db, session: string): Promise<WorkerRow | undefined> {
  return firstRow<WorkerRow>(db, sql`select * from workers where session_id = ${session} ${db.lock.rows}`);
}

/**
 * A new session. Of the one that it replaces, whose secret it shows, it takes over what is still held; the rest is lost at
 * once, and need not wait for a lease. What is held but was queued again meanwhile is its own from then on: it comes back to
 * it with its first exchange (`attention`), and is not given to it once more.
 */
export async function registerWorker(db: Db, worker: NewWorker): Promise<{ number: number; now: number }> {
  const old = worker.replaces ? await lockWorker(db, worker.replaces.session) : undefined;
  const replaces = old?.secret_hash === worker.replaces?.secretHash && old?.state !== 'ended' ? worker.replaces : null;
  const row = await firstRow<{ number: number }>(
    db,
    sql`insert into workers
      (session_id, secret_hash, token_id, name, host, pid, zone, share, version, kinds, total, labels, projects, registered_at, seen_at, lease_until, ends_at, batch_hold, pilot, peer_id, replaces, attention, state)
    values (${worker.session}, ${worker.secretHash}, ${worker.tokenId}, ${worker.name}, ${worker.host}, ${worker.pid}, ${worker.zone}, ${worker.share}, ${worker.version},
      ${JSON.stringify(worker.kinds)}, ${worker.total}, ${worker.labels}, ${worker.projects === null ? null : JSON.stringify(worker.projects)},
      ${db.now}, ${db.now}, ${db.now + worker.lease.leaseMs}, ${worker.remainingSeconds === null ? null : Math.round(db.now + worker.remainingSeconds * 1000)}, ${worker.batchHold ? 1 : 0}, ${worker.pilot ?? null}, ${worker.peer ?? null}, ${replaces?.session ?? null}, ${(replaces?.held.length ?? 0) > 0 ? 1 : 0}, 'alive')
    returning number`,
  );
  if (worker.pilot)
    await db.run(
      sql`update pilots set registered_at = coalesce(registered_at, ${db.now}) where submission_id = ${worker.pilot}`,
    );
  if (old && replaces) {
    await takeOver(db, worker.session, replaces);
    // What an agent or a neighbour does not know of was never sent out: nothing of it ran.
    if (old.batch_hold === 1) await giveBack(db, old.session_id, 'its agent had not begun with it');
    else if (old.peer_id !== null) await giveBack(db, old.session_id, 'the neighbour had not got it');
    else await loseWorkers(db, [old.session_id], sql`state <> 'ended'`);
  }
  return { number: row?.number ?? 0, now: db.now };
}

/** Also from a session that replaced the same one and was never used: the answer that told of it got lost. */
async function takeOver(db: Db, session: string, old: OldSession): Promise<void> {
  if (old.held.length === 0) return;
  const held = db.table({
    m_submission: ['bigint', old.held.map((key) => key.submission)],
    m_idx: ['bigint', old.held.map((key) => key.idx)],
    m_attempt: ['bigint', old.held.map((key) => key.attempt)],
  });
  await db.run(sql`update tasks set session_id = ${session} where state in ('running', 'queued') and attempt_state = 'open'
    and (session_id = ${old.session} or session_id in (select w.session_id from workers w where w.replaces = ${old.session} and w.exchange_number = 0))
    and (submission_id, idx, attempt) in (select m_submission, m_idx, m_attempt from ${held} as given)`);
}

/**
 * Gives up for lost every worker whose lease ran out; what they ran is charged and queued again. Returns how many tasks.
 * What lives in a batch system is not lost by the silence of the agent that holds it: it stays that agent's.
 */
export async function rescueExpired(db: Db): Promise<number> {
  if (!(await isOnlyRescuer(db))) return 0;
  await silenceHolders(db);
  const expired = await db.rows<{
    session_id: string;
  }>(sql`select session_id from workers where state = 'alive' and lease_until < ${db.now} and batch_hold = 0
    order by lease_until limit 100`);
  return loseWorkers(
    db,
    expired.map((worker) => worker.session_id),
    sql`state = 'alive' and lease_until < ${db.now}`,
  );
}

async function silenceHolders(db: Db): Promise<void> {
  const silent = sql`state = 'alive' and lease_until < ${db.now} and batch_hold = 1`;
  const found = await db.rows(sql`select session_id from workers where ${silent} order by session_id ${db.lock.rows}`);
  if (found.length > 0) await db.run(sql`update workers set state = 'lost', reserved_queue = null where ${silent}`);
}

/** Two servers that rescue at once would lock each other's workers: the second leaves it to the first. */
async function isOnlyRescuer(db: Db): Promise<boolean> {
  if (db.dialect !== 'postgres') return true;
  const row = await firstRow<{ mine: boolean }>(db, sql`select pg_try_advisory_xact_lock(7306) as mine`);
  return row?.mine === true;
}

/** Of these workers those of which it is still true: others came back meanwhile, or left. */
async function loseWorkers(db: Db, sessions: readonly string[], still: Sql): Promise<number> {
  if (sessions.length === 0) return 0;
  const tasks = await endSessions(db, sessions, sql`state = 'lost'`, still);
  const limits = await limitsOfAll(
    db,
    tasks.map((task) => task.submission_id),
  );
  const ofNeighbours = await sessionsOfNeighbours(db, sessions);
  const moves = tasks.map((task): Move => {
    if (ofNeighbours.has(task.session_id)) return uncharged(task);
    const { next, counters } = judgeLoss(
      toFacts(task),
      limits.get(task.submission_id) as NonNullable<ReturnType<typeof limits.get>>,
    );
    return {
      task,
      state: next.state,
      attemptState: 'open',
      reason: next.state === 'failed' ? next.reason : null,
      ...counters,
    };
  });
  await applyMoves(db, moves);
  await keepEnds(db, tasks, 'lost', 'the worker was not heard of any more');
  return tasks.length;
}

/** A neighbour's silence is the network's fault, or the neighbour's: no task is charged with it. */
async function sessionsOfNeighbours(db: Db, sessions: readonly string[]): Promise<Set<string | null>> {
  const given = db.table({ m_session: ['text', sessions] });
  const rows = await db.rows<{ session_id: string }>(sql`select session_id from workers
    where session_id in (select m_session from ${given} as given) and peer_id is not null`);
  return new Set(rows.map((row) => row.session_id));
}

function uncharged(task: TaskRow): Move {
  const { failures, losses, planned_ends: plannedEnds } = task;
  return { task, state: 'queued', attemptState: 'open', failures, losses, plannedEnds };
}

/** Changes workers, and returns what those that were changed run, locked. */
async function endSessions(db: Db, sessions: readonly string[], change: Sql, still: Sql): Promise<TaskRow[]> {
  const given = db.table({ m_session: ['text', sessions] });
  await db.rows(sql`select session_id from workers where session_id in (select m_session from ${given} as given)
    order by session_id ${db.lock.rows}`);
  const changed = await db.rows<{ session_id: string }>(sql`update workers set ${change}, reserved_queue = null
    where session_id in (select m_session from ${given} as given) and ${still} returning session_id`);
  return runningOf(
    db,
    changed.map((row) => row.session_id),
  );
}

async function runningOf(db: Db, sessions: readonly string[]): Promise<TaskRow[]> {
  if (sessions.length === 0) return [];
  const given = db.table({ m_session: ['text', sessions] });
  const of = db.dialect === 'postgres' ? sql`for update of t` : sql``;
  return db.rows<TaskRow>(sql`select ${TASK_ROW} from tasks t join submissions s on s.id = t.submission_id
    where t.session_id in (select m_session from ${given} as given) and t.state = 'running' order by t.submission_id, t.idx ${of}`);
}

/** Writes down how attempts ended that did not report. */
export async function keepEnds(db: Db, tasks: readonly TaskRow[], outcome: string, message: string): Promise<void> {
  if (tasks.length === 0) return;
  const given = db.table({
    m_submission: ['bigint', tasks.map((t) => t.submission_id)],
    m_idx: ['bigint', tasks.map((t) => t.idx)],
    m_attempt: ['bigint', tasks.map((t) => t.attempt)],
    m_session: ['text', tasks.map((t) => t.session_id)],
    m_started: ['bigint', tasks.map((t) => t.started_at)],
    m_secret: ['text', tasks.map((t) => t.secret_hash)],
  });
  await db.run(sql`insert into attempts (submission_id, idx, attempt, outcome, session_id, started_at, ended_at, message, secret_hash)
    select m_submission, m_idx, m_attempt, cast(${outcome} as text), m_session, m_started, cast(${db.now} as bigint), cast(${message} as text), m_secret
    from ${given} as given where true on conflict (submission_id, idx, attempt) do nothing`);
}

/** A worker ends as planned: what it still holds goes back, uncharged, and its session is over. An agent's jobs stay its own. */
export async function leaveWorker(
  db: Db,
  input: { session: string; sessionSecret: string },
): Promise<number | undefined> {
  const worker = await lockWorker(db, input.session);
  if (!worker || worker.secret_hash !== sha256(input.sessionSecret)) return undefined;
  if (worker.batch_hold === 1) {
    await db.run(sql`update workers set state = 'lost', lease_until = ${db.now} where session_id = ${input.session}`);
    return 0;
  }
  // A neighbour that stops comes back: its workers go on meanwhile, and its lease decides.
  if (worker.peer_id !== null) return 0;
  return giveBack(db, input.session, 'the worker ended as planned');
}

/** The trust is over: what a neighbour has of ours is queued again at once. Returns how many tasks. */
export async function dropPeerSessions(db: Db, input: { peerId: string }): Promise<number> {
  const sessions = await db.rows<{ session_id: string }>(
    sql`select session_id from workers where peer_id = ${input.peerId} and state <> 'ended' order by session_id`,
  );
  let back = 0;
  for (const { session_id: session } of sessions) back += await giveBack(db, session, 'the neighbour is none any more');
  return back;
}

async function giveBack(db: Db, session: string, why: string): Promise<number> {
  const tasks = await endSessions(db, [session], sql`state = 'ended', lease_until = ${db.now}`, sql`true`);
  await takeBack(db, tasks, why);
  return tasks.length;
}

/** Running tasks, locked, are queued again, uncharged. */
export async function takeBack(db: Db, tasks: readonly TaskRow[], why: string): Promise<void> {
  await applyMoves(db, tasks.map(uncharged));
  await keepEnds(db, tasks, 'released', why);
}

/** Drain or stop: told to the workers with their next answer. `names` are ids (`w3`) or names; null is all. */
export async function instructWorkers(
  db: Db,
  input: { names: readonly string[] | null; instruction: 'drain' | 'stop' },
): Promise<string[]> {
  // A neighbour would end its work here for good: it is told by its terms.
  const alive = await db.rows<WorkerRow>(
    sql`select * from workers where state = 'alive' and peer_id is null order by number`,
  );
  const meant = alive.filter(
    (worker) => input.names === null || input.names.includes(worker.name) || input.names.includes(`w${worker.number}`),
  );
  for (const worker of meant) {
    await db.run(
      sql`update workers set instruction = ${input.instruction}, attention = 1 where session_id = ${worker.session_id}`,
    );
  }
  return meant.map((worker) => worker.session_id);
}

export interface WorkerListRow extends WorkerRow {
  readonly running: number;
}

/** Without neighbours, which are not workers that anybody here could drain or stop. */
export async function listWorkers(db: Db, input: { all: boolean }): Promise<WorkerListRow[]> {
  const wanted = input.all ? sql`true` : sql`(w.state = 'alive' or w.seen_at > ${db.now - 3_600_000})`;
  return db.rows<WorkerListRow>(sql`select w.*, (select count(*) from tasks t where t.session_id = w.session_id and t.state = 'running') as running
    from workers w where w.peer_id is null and ${wanted} order by w.number`);
}

/** Somebody looks at the output of a task: its worker is asked to send it as it grows, for half a minute. */
export async function followTask(db: Db, input: { submission: number; idx: number }): Promise<string | null> {
  const row = await firstRow<{ session_id: string; follow_until: number }>(
    db,
    sql`select w.session_id, w.follow_until from tasks t join workers w on w.session_id = t.session_id
    where t.submission_id = ${input.submission} and t.idx = ${input.idx} and t.state = 'running'`,
  );
  if (!row || row.follow_until > db.now + 15_000) return null;
  await db.run(
    sql`update workers set follow_until = ${db.now + 30_000}, attention = 1 where session_id = ${row.session_id}`,
  );
  return row.session_id;
}

/** Has workers look at what they hold with their next exchange, or at once if a poll is open. */
export async function alertWorkers(db: Db, input: { sessions: readonly string[] }): Promise<void> {
  if (input.sessions.length === 0) return;
  const given = db.table({ m_session: ['text', input.sessions] });
  await db.run(sql`update workers set attention = 1 where session_id in (select m_session from ${given} as given)`);
}
