import { judgeReport, type Limits } from '../../core/task.ts';
import { recordUses } from '../blob-uses.ts';
import type { Db } from '../db.ts';
import { sql } from '../sql.ts';
import { applyMoves, EXTRAS, limitsOfAll, type Move, TASK_ROW, type TaskRow, toFacts } from '../task-rows.ts';
import { dropCheckpoints, suspectCheckpoint } from './checkpoints.ts';
import { keepLogs } from './keep-logs.ts';
import { filesHere, type IsHere, withWhatIsHere } from './report-files.ts';
import type { StoredReport } from './stored-report.ts';

export type Answer = 'accepted' | 'stale-attempt' | 'already-finished' | 'wrong-secret' | 'unknown-task';

interface Judged {
  readonly report: StoredReport;
  readonly answer: Answer;
  readonly move?: Move;
}

/** Judges each report on the locked row of its task, writes what follows, and keeps aside what is refused. Answers in order. */
export async function reportAttempts(db: Db, session: string, reports: readonly StoredReport[]): Promise<Answer[]> {
  if (reports.length === 0) return [];
  const tasks = await lockTasks(db, reports);
  const limits = await limitsOfAll(
    db,
    [...tasks.values()].map((task) => task.submission_id),
  );
  const isHere = await filesHere(db, tasks, reports);
  const earlier = await earlierAttempts(db, tasks, reports);
  const judged: Judged[] = [];
  for (const report of reports) {
    const task = tasks.get(`${report.submission}.${report.idx}`);
    const isProven = task !== undefined && isProvenBy(task, report, session, earlier);
    const verdict = judge(db, { task, report, limits: limits.get(report.submission), isHere, isProven });
    judged.push(verdict);
    if (verdict.move && task) tasks.set(`${report.submission}.${report.idx}`, afterMove(task, verdict.move));
  }
  await applyMoves(
    db,
    judged.flatMap((one) => (one.move ? [one.move] : [])),
  );
  await keepAttempts(
    db,
    session,
    judged.filter((one) => one.move),
  );
  await keepAside(
    db,
    session,
    judged.filter((one) => one.answer !== 'accepted' && one.answer !== 'wrong-secret' && one.answer !== 'unknown-task'),
  );
  await keepFiles(db, tasks, judged);
  for (const { report, move } of judged) if (move && report.site) await keepSite(db, report);
  await settleCheckpoints(
    db,
    judged.filter((one) => ((one.move?.task.extras ?? 0) & EXTRAS.checkpoint) !== 0),
  );
  return judged.map((one) => one.answer);
}

async function keepSite(db: Db, { submission, idx, site }: StoredReport): Promise<void> {
  await db.run(sql`update tasks set site_state = ${site ?? null} where submission_id = ${submission} and idx = ${idx}`);
}

/** Also of reports that are kept aside: they may count after all. */
async function keepFiles(db: Db, tasks: ReadonlyMap<string, TaskRow>, judged: readonly Judged[]): Promise<void> {
  const uses = judged.flatMap(({ report, answer }) => {
    const task = tasks.get(`${report.submission}.${report.idx}`);
    if (!task || answer === 'wrong-secret') return [];
    return report.digests.map((digest) => ({
      projectId: task.project_id,
      submissionId: task.submission_id,
      digest,
    }));
  });
  await recordUses(db, uses);
}

async function settleCheckpoints(db: Db, judged: readonly Judged[]): Promise<void> {
  await dropCheckpoints(
    db,
    judged.flatMap(({ report, move }) => (move?.state === 'succeeded' ? [report] : [])),
  );
  for (const { report } of judged) {
    const itsOwnFault = report.reason === 'exit-code' || report.reason === 'signal';
    if (report.outcome === 'failed' && itsOwnFault && report.checkpoint)
      await suspectCheckpoint(db, { submission: report.submission, idx: report.idx, ...report.checkpoint });
  }
}

export async function lockTasks(
  db: Db,
  keys: readonly { submission: number; idx: number }[],
): Promise<Map<string, TaskRow>> {
  const given = db.table({
    m_submission: ['bigint', keys.map((key) => key.submission)],
    m_idx: ['bigint', keys.map((key) => key.idx)],
  });
  // Two lists of one task are one row; and everybody locks in the same order.
  const rows = await db.rows<TaskRow>(sql`select ${TASK_ROW} from tasks t join submissions s on s.id = t.submission_id
    where (t.submission_id, t.idx) in (select m_submission, m_idx from ${given} as given) order by t.submission_id, t.idx ${ofTasks(db)}`);
  return new Map(rows.map((row) => [`${row.submission_id}.${row.idx}`, row]));
}

interface EarlierAttempt {
  readonly submission_id: number;
  readonly idx: number;
  readonly attempt: number;
  readonly session_id: string | null;
  readonly secret_hash: string | null;
}

function nameOf(submission: number, idx: number, attempt: number): string {
  return `${submission}.${idx}/${attempt}`;
}

/** What reports of attempts that are not the last ones are held against, by name. */
async function earlierAttempts(
  db: Db,
  tasks: ReadonlyMap<string, TaskRow>,
  reports: readonly StoredReport[],
): Promise<ReadonlyMap<string, EarlierAttempt>> {
  const late = reports.filter(
    ({ submission, idx, attempt }) => attempt < (tasks.get(`${submission}.${idx}`)?.attempt ?? 0),
  );
  if (late.length === 0) return new Map();
  const given = db.table({
    m_submission: ['bigint', late.map((report) => report.submission)],
    m_idx: ['bigint', late.map((report) => report.idx)],
    m_attempt: ['bigint', late.map((report) => report.attempt)],
  });
  const rows =
    await db.rows<EarlierAttempt>(sql`select submission_id, idx, attempt, session_id, secret_hash from attempts
    where (submission_id, idx, attempt) in (select m_submission, m_idx, m_attempt from ${given} as given)`);
  return new Map(rows.map((row) => [nameOf(row.submission_id, row.idx, row.attempt), row]));
}

/** Of attempts from before their secrets were kept it is known only which session had them. */
function isProvenBy(
  task: TaskRow,
  { submission, idx, attempt, secretHash }: StoredReport,
  session: string,
  earlier: ReadonlyMap<string, EarlierAttempt>,
): boolean {
  if (attempt === task.attempt) return task.secret_hash === secretHash;
  const known = earlier.get(nameOf(submission, idx, attempt));
  return (
    known !== undefined &&
    (known.secret_hash === null ? known.session_id === session : known.secret_hash === secretHash)
  );
}

function ofTasks(db: Db) {
  return db.dialect === 'postgres' ? sql`for update of t` : sql``;
}

interface Case {
  readonly task: TaskRow | undefined;
  readonly report: StoredReport;
  readonly limits: Limits | undefined;
  readonly isHere: IsHere;
  /** Its secret is that of the attempt. */
  readonly isProven: boolean;
}

function judge(db: Db, { task, report: told, limits, isHere, isProven }: Case): Judged {
  if (!task || !limits) return { report: told, answer: 'unknown-task' };
  const current = told.attempt === task.attempt;
  if (told.attempt <= task.attempt && !isProven) return { report: told, answer: 'wrong-secret' };
  const report = current ? withWhatIsHere(told, (digest) => isHere(task.project_id, digest)) : told;
  const verdict = judgeReport(
    toFacts(task),
    { attempt: report.attempt, outcome: report.outcome, reason: report.reason ?? undefined },
    limits,
    db.now,
  );
  if (!verdict.ok) return { report: told, answer: verdict.refusal };
  if (verdict.repeated) return { report, answer: 'accepted' };
  const { next, counters } = verdict;
  const move: Move = {
    task,
    state: next.state,
    attemptState: 'reported',
    reason: next.state === 'failed' ? next.reason : report.reason,
    exitCode: report.exitCode,
    startedAt: report.startedAt ?? task.started_at,
    ...(next.state === 'waiting' ? { notBefore: next.notBefore } : {}),
    ...counters,
  };
  return { report, answer: 'accepted', move };
}

/** A second report of one task in one list is judged on what the first one made of it. */
function afterMove(task: TaskRow, move: Move): TaskRow {
  return { ...task, state: move.state, attempt_state: move.attemptState };
}

async function keepAttempts(db: Db, session: string, judged: readonly Judged[]): Promise<void> {
  if (judged.length === 0) return;
  const reports = judged.map((one) => one.report);
  const given = db.table({
    a_submission: ['bigint', reports.map((r) => r.submission)],
    a_idx: ['bigint', reports.map((r) => r.idx)],
    a_attempt: ['bigint', reports.map((r) => r.attempt)],
    a_outcome: ['text', reports.map((r) => r.outcome)],
    a_session: ['text', judged.map((one) => one.move?.task.session_id ?? session)],
    a_started: ['bigint', judged.map((one) => one.move?.startedAt ?? null)],
    a_exit: ['bigint', reports.map((r) => r.exitCode)],
    a_signal: ['text', reports.map((r) => r.signal)],
    a_reason: ['text', reports.map((r) => r.reason)],
    a_message: ['text', reports.map((r) => r.message)],
    a_wall: ['text', reports.map((r) => textOf(r.wallSeconds))],
    a_cpu: ['text', reports.map((r) => textOf(r.cpuSeconds))],
    a_peak: ['bigint', reports.map((r) => r.peakMemory)],
    a_outputs: ['text', reports.map((r) => r.outputs)],
    a_result: ['text', reports.map((r) => r.result)],
    a_secret: ['text', reports.map((r) => r.secretHash)],
  });
  await db.run(sql`insert into attempts (submission_id, idx, attempt, outcome, session_id, started_at, ended_at, exit_code, signal, reason, message,
      wall_seconds, cpu_seconds, peak_memory, outputs, result, secret_hash)
    select a_submission, a_idx, a_attempt, a_outcome, a_session, a_started, cast(${db.now} as bigint), a_exit, a_signal, a_reason, a_message,
      cast(a_wall as double precision), cast(a_cpu as double precision), a_peak, a_outputs, a_result, a_secret from ${given} as given where true
    on conflict (submission_id, idx, attempt) do update set outcome = excluded.outcome, session_id = excluded.session_id, started_at = excluded.started_at,
      ended_at = excluded.ended_at, exit_code = excluded.exit_code, signal = excluded.signal, reason = excluded.reason, message = excluded.message,
      wall_seconds = excluded.wall_seconds, cpu_seconds = excluded.cpu_seconds, peak_memory = excluded.peak_memory, outputs = excluded.outputs, result = excluded.result, secret_hash = excluded.secret_hash`);
  await keepLogs(
    db,
    reports.flatMap((r) =>
      r.logs.map((log) => ({ ...log, submission: r.submission, idx: r.idx, attempt: r.attempt, start: 0 })),
    ),
  );
}

/** Never thrown away: `task accept` may make it the outcome after all. A repeated one is kept once. */
async function keepAside(db: Db, session: string, judged: readonly Judged[]): Promise<void> {
  for (const { report, answer } of judged) {
    const { submission, idx, attempt } = report;
    await db.run(sql`insert into late_reports (submission_id, idx, attempt, received_at, refusal, session_id, report)
      select cast(${submission} as bigint), cast(${idx} as bigint), cast(${attempt} as bigint), cast(${db.now} as bigint), cast(${answer} as text),
        cast(${session} as text), cast(${JSON.stringify(report)} as text)
      where not exists (select 1 from late_reports where submission_id = ${submission} and idx = ${idx} and attempt = ${attempt})`);
  }
}

function textOf(number: number | null): string | null {
  return number === null ? null : String(number);
}
