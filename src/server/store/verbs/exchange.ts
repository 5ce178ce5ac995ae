import { PilotageError } from '../../../ground/base/errors.ts';
import { heartbeatDue } from '../../core/lease.ts';
import { mayReattach } from '../../core/task.ts';
import { type Db, firstRow } from '../db.ts';
import { sameHash, sha256 } from '../secrets.ts';
import { sql } from '../sql.ts';
import { applyMoves, type TaskRow, toFacts } from '../task-rows.ts';
import { claimForWorker } from './claim-for-worker.ts';
import type { ExchangeInput, HeldKey } from './exchange-input.ts';
import { type Answer, lockTasks, reportAttempts } from './report-attempts.ts';
import { keepRunningLogs } from './running-logs.ts';
import type { StoredReport } from './stored-report.ts';
import type { ClaimedRow } from './take-tasks.ts';
import { lockWorker, takeBack, type WorkerRow } from './workers.ts';

export interface GivenTask extends ClaimedRow {
  readonly project: string;
  readonly projectId: number;
  readonly extras: number;
}

export type ExchangeResult =
  | { readonly kind: 'unknown-session' }
  | { readonly kind: 'stale' }
  | {
      readonly kind: 'done';
      readonly answers: readonly Answer[];
      readonly claims: readonly GivenTask[];
      readonly drop: readonly { submission: number; idx: number; attempt: number }[];
      readonly instruction: 'work' | 'drain' | 'stop';
      /** What it holds has to be known before anything more is given to it. */
      readonly listHeld: boolean;
      readonly followUntil: number;
      readonly now: number;
    };

/**
 * One exchange of a worker: heartbeat, reports, what is no longer its own, claims. Writes only when there is
 * something to write: an empty poll between two heartbeats leaves the database untouched.
 */
export async function exchange(db: Db, input: ExchangeInput): Promise<ExchangeResult> {
  const worker = await lockWorker(db, input.session);
  if (!worker || worker.state === 'ended' || !sameHash(worker.secret_hash, sha256(input.sessionSecret)))
    return { kind: 'unknown-session' };
  // One that a later one has overtaken brings its reports home, and nothing else.
  const isOvertaken = input.number < worker.exchange_number;
  if (isOvertaken && input.reports.length === 0) return { kind: 'stale' };
  const repeated = input.number <= worker.exchange_number;
  const due = heartbeatDue(worker.seen_at, db.now, input.lease) || worker.state === 'lost' || worker.attention === 1;
  const isCompared = !isOvertaken && (due || repeated || input.compare);
  const listHeld = isCompared && input.held === null;
  if (db.dialect === 'postgres' && input.reports.length > 0 && isCompared) {
    // All tasks before any submission, as by everybody: reports lock submissions too.
    await lockTasks(db, [...input.reports, ...(input.held ?? [])]);
  }
  const answers = await reportAttempts(db, input.session, input.reports);
  if (worker.peer_id !== null) await addDebt(db, worker.peer_id, input.reports, answers);
  await keepRunningLogs(db, input.session, input.logs);
  const reported = new Set(input.reports.map((report) => `${report.submission}.${report.idx}/${report.attempt}`));
  const held = (input.held ?? []).filter((key) => !reported.has(`${key.submission}.${key.idx}/${key.attempt}`));
  const projects = await projectsOf(db, worker, input);
  const settled = isCompared && !listHeld ? await settleHeld(db, input, projects, held) : NOTHING_SETTLED;
  const isGiven = !repeated && !listHeld && worker.instruction === 'work';
  const claim = isGiven ? await claimForWorker(db, worker, projects, input) : nothing(worker);
  const wrote = answers.length > 0 || input.logs.length > 0 || claim.claimed.length > 0 || settled.drop.length > 0;
  const claims = await withProject(db, [...settled.lost, ...claim.claimed]);
  const told = answers.length > 0 || claims.length > 0 || settled.drop.length > 0;
  // What has been compared is not changed by what was asked before.
  const answered = told ? input.number : isCompared ? input.number - 1 : 0;
  const again = listHeld || settled.isCut || (isOvertaken && worker.attention === 1);
  if (due || told || wrote || again || isCompared || claim.reservedQueue !== worker.reserved_queue)
    await beat(db, input, { reservedQueue: claim.reservedQueue, answered, again });
  return {
    kind: 'done',
    answers,
    claims,
    drop: settled.drop,
    instruction: worker.instruction,
    listHeld,
    followUntil: worker.follow_until,
    now: db.now,
  };
}

function nothing(worker: WorkerRow) {
  return { claimed: [] as const, reservedQueue: worker.reserved_queue };
}

/** What a neighbour's workers did for us is on record, as it told. */
async function addDebt(
  db: Db,
  peer: string,
  reports: readonly StoredReport[],
  answers: readonly Answer[],
): Promise<void> {
  const seconds = reports.reduce(
    (sum, report, i) => sum + (answers[i] === 'accepted' ? (report.cpuSeconds ?? report.wallSeconds ?? 0) : 0),
    0,
  );
  if (seconds > 0)
    await db.run(sql`update peers set borrowed_ms = borrowed_ms + ${Math.round(seconds * 1000)} where id = ${peer}`);
}

interface Beat {
  readonly reservedQueue: number | null;
  /** The number that is answered for good; a poll that only gave a heartbeat goes on, and may claim yet. */
  readonly answered: number;
  /** It is to be compared once more: why it was to be stays noted. */
  readonly again: boolean;
}

async function beat(db: Db, input: ExchangeInput, { reservedQueue, answered, again }: Beat): Promise<void> {
  const beaten =
    await db.run(sql`update workers set state = 'alive', seen_at = ${db.now}, lease_until = ${db.now + input.lease.leaseMs}, attention = ${again ? 1 : 0},
    exchange_number = case when exchange_number < ${answered} then ${answered} else exchange_number end, reserved_queue = ${reservedQueue}
    where session_id = ${input.session} and state <> 'ended'`);
  if (beaten === 0)
    throw new PilotageError(
      'session-ended',
      'this worker session ended while the exchange was answered: register again',
    );
}

/** What it may have: of the projects that it registered with those that whoever asks may still enter. Null: all. */
async function projectsOf(db: Db, { projects }: WorkerRow, input: ExchangeInput): Promise<readonly number[] | null> {
  const { mayEnter, neighbour } = input;
  if (neighbour) return neighbour.projects;
  const had = projects === null ? null : (JSON.parse(projects) as number[]);
  if (mayEnter === null) return had;
  const names = db.table({ m_name: ['text', mayEnter] });
  const rows = await db.rows<{ id: number }>(
    sql`select id from projects where name in (select m_name from ${names} as given) order by id`,
  );
  return rows.map(({ id }) => Number(id)).filter((id) => had === null || had.includes(id));
}

interface Settled {
  /** Held by the worker, but no longer its own. */
  readonly drop: Array<{ submission: number; idx: number; attempt: number }>;
  /** The worker's own, but in a reply that it never saw. */
  readonly lost: ClaimedRow[];
  /** There is more of it. */
  readonly isCut: boolean;
}

const NOTHING_SETTLED: Settled = { drop: [], lost: [], isCut: false };
const MOST_LOST = 1000;

/** Compares what the worker holds with what the database says it runs; a worker that was given up for lost gets back what nobody claimed. */
async function settleHeld(
  db: Db,
  input: ExchangeInput,
  projects: readonly number[] | null,
  held: readonly HeldKey[],
): Promise<Settled> {
  const tasks = held.length === 0 ? new Map<string, TaskRow>() : await lockTasks(db, held);
  const drop: Settled['drop'] = [];
  const back: TaskRow[] = [];
  // Whoever names a task that is not meant for it gets it in no other way either: it was this session's, and no other's since.
  const mayHave = ({ project_id: id, session_id: session }: TaskRow): boolean =>
    session === input.session && (projects === null || projects.includes(id));
  for (const key of held) {
    const task = tasks.get(`${key.submission}.${key.idx}`);
    if (task?.state === 'running' && task.attempt === key.attempt && task.session_id === input.session) continue;
    if (task && mayReattach(toFacts(task), key.attempt) && mayHave(task)) back.push(task);
    else drop.push({ submission: key.submission, idx: key.idx, attempt: key.attempt });
  }
  await reattach(db, input.session, back);
  await keepProgress(
    db,
    input.session,
    held.filter((key) => key.progress !== null || (key.site ?? null) !== null),
  );
  return { drop, ...(await unheld(db, input, projects)) };
}

async function reattach(db: Db, session: string, tasks: readonly TaskRow[]): Promise<void> {
  if (tasks.length === 0) return;
  const keys = db.table({
    m_submission: ['bigint', tasks.map((t) => t.submission_id)],
    m_idx: ['bigint', tasks.map((t) => t.idx)],
    m_attempt: ['bigint', tasks.map((t) => t.attempt)],
  });
  await db.run(
    sql`update tasks set session_id = ${session} where (submission_id, idx) in (select m_submission, m_idx from ${keys} as given)`,
  );
  await db.run(sql`delete from attempts where outcome = 'lost' and (submission_id, idx, attempt) in
    (select m_submission, m_idx, m_attempt from ${keys} as given)`);
  await applyMoves(
    db,
    tasks.map((task) => ({
      task,
      state: 'running',
      attemptState: 'open',
      failures: task.failures,
      losses: Math.max(0, task.losses - 1),
      plannedEnds: task.planned_ends,
    })),
  );
}

async function keepProgress(db: Db, session: string, held: readonly HeldKey[]): Promise<void> {
  if (held.length === 0) return;
  const given = db.table({
    m_submission: ['bigint', held.map((key) => key.submission)],
    m_idx: ['bigint', held.map((key) => key.idx)],
    m_attempt: ['bigint', held.map((key) => key.attempt)],
    m_progress: ['text', held.map((key) => key.progress)],
    m_site: ['text', held.map((key) => key.site ?? null)],
  });
  await db.run(sql`update tasks set progress = coalesce(m_progress, progress), site_state = coalesce(m_site, site_state), revision = revision + 1, sequence = ${db.nextSequence} from ${given} as given
    where submission_id = m_submission and idx = m_idx and attempt = m_attempt and state = 'running' and session_id = ${session} and (coalesce(progress, '') <> coalesce(m_progress, progress, '') or coalesce(site_state, '') <> coalesce(m_site, site_state, ''))`);
}

/** Goes out once more, but for what it may not have any more: nobody began with that, and it is queued again. */
async function unheld(
  db: Db,
  input: ExchangeInput,
  projects: readonly number[] | null,
): Promise<Pick<Settled, 'lost' | 'isCut'>> {
  const rows = await db.rows<ClaimedRow>(sql`select submission_id, idx, attempt, payload, inputs from tasks
    where session_id = ${input.session} and state = 'running' order by submission_id, idx`);
  const held = new Set(input.held?.map((key) => `${key.submission}.${key.idx}/${key.attempt}`));
  const all = rows.filter((row) => !held.has(`${row.submission_id}.${row.idx}/${row.attempt}`));
  const lost = all.slice(0, MOST_LOST);
  const isCut = all.length > lost.length;
  if (lost.length === 0 || input.neighbour || projects === null) return { lost, isCut };
  const tasks = await lockTasks(
    db,
    lost.map((row) => ({ submission: row.submission_id, idx: row.idx })),
  );
  const barred = [...tasks.values()].filter((task) => !projects.includes(task.project_id));
  await takeBack(db, barred, 'its worker may not enter the project any more');
  const gone = new Set(barred.map((task) => `${task.submission_id}.${task.idx}`));
  return { lost: lost.filter((row) => !gone.has(`${row.submission_id}.${row.idx}`)), isCut };
}

async function withProject(db: Db, rows: readonly ClaimedRow[]): Promise<GivenTask[]> {
  const facts = new Map<number, { project: string; projectId: number; extras: number }>();
  for (const { submission_id: id } of rows) {
    if (facts.has(id)) continue;
    const row = await firstRow<{ name: string; project_id: number; extras: number }>(
      db,
      sql`select p.name, s.project_id, s.extras from submissions s join projects p on p.id = s.project_id where s.id = ${id}`,
    );
    facts.set(id, { project: row?.name ?? '', projectId: row?.project_id ?? 0, extras: row?.extras ?? 0 });
  }
  const none = { project: '', projectId: 0, extras: 0 };
  return rows.map((row) => ({ ...row, ...(facts.get(row.submission_id) ?? none) }));
}
