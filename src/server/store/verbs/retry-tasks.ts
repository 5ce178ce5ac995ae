import { judgeReport } from '../../core/task.ts';
import { touchSubmissions } from '../counts.ts';
import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';
import { applyMoves, EXTRAS, type Move, TASK_ROW, type TaskRow, toFacts } from '../task-rows.ts';
import { dropCheckpoints } from './checkpoints.ts';
import { lockWaitingGate } from './gates.ts';
import { keepLogs } from './keep-logs.ts';
import { asItCounts } from './report-files.ts';
import type { StoredReport } from './stored-report.ts';

/** Queues failed and cancelled tasks again, up to 10,000 a call, with fresh counters. A submission that waited for others waits again. */
export async function retryTasks(
  db: Db,
  input: { submission: number; idx: number | null; failedOnly: boolean },
): Promise<number> {
  const one = input.idx === null ? sql`` : sql`and t.idx = ${input.idx}`;
  const states = input.failedOnly ? sql`t.state = 'failed'` : sql`t.state in ('failed', 'cancelled')`;
  await lockWaitingGate(db, input.submission);
  await rearmDependencies(db, input.submission);
  const of = db.dialect === 'postgres' ? sql`for update of t` : sql``;
  const tasks = await db.rows<TaskRow>(sql`select ${TASK_ROW} from tasks t join submissions s on s.id = t.submission_id
    where t.submission_id = ${input.submission} ${one} and t.state in ('failed', 'cancelled') and ${states} and s.ending is null
    and (s.extras & ${EXTRAS.borrowed}) = 0 order by t.idx limit 10000 ${of}`);
  await applyMoves(
    db,
    tasks.map(
      (task): Move => ({
        task,
        state: 'queued',
        attemptState: task.attempt_state,
        failures: 0,
        losses: 0,
        plannedEnds: 0,
      }),
    ),
  );
  return tasks.length;
}

/** A gate that never opened, because what it waited for failed, is looked at again by the next fold. */
async function rearmDependencies(db: Db, submission: number): Promise<void> {
  const open = await db.rows<{
    on_submission: number;
    project_id: number;
  }>(sql`select d.on_submission, s.project_id from dependencies d
    join submissions s on s.id = d.submission_id where d.submission_id = ${submission} and d.done = 0 and s.gate = 'waiting'`);
  await touchSubmissions(
    db,
    open.map((row) => ({ projectId: row.project_id, submissionId: row.on_submission })),
  );
}

/** Submissions of a project (or of all) that have failed or cancelled tasks. */
export async function unsuccessful(db: Db, input: { projectId: number | null }): Promise<number[]> {
  const project = input.projectId === null ? sql`` : sql`and s.project_id = ${input.projectId}`;
  const rows = await db.rows<{ id: number }>(sql`select s.id from submissions s where s.gate <> 'loading' ${project}
    and exists (select 1 from tasks t where t.submission_id = s.id and t.state in ('failed', 'cancelled')) order by s.id`);
  return rows.map((row) => row.id);
}

/** Submissions of a project (or of all) that have unfinished tasks. */
export async function unfinished(db: Db, input: { projectId: number | null }): Promise<number[]> {
  const project = input.projectId === null ? sql`` : sql`and s.project_id = ${input.projectId}`;
  const rows = await db.rows<{ id: number }>(sql`select s.id from submissions s where s.gate <> 'loading' ${project}
    and (s.claimable = 1 or exists (select 1 from tasks t where t.submission_id = s.id and t.state in ('waiting', 'queued', 'running'))) order by s.id`);
  return rows.map((row) => row.id);
}

export type AcceptResult = 'accepted' | 'no-late-report' | 'not-failed' | 'files-gone';

/** Makes a report that was kept aside the outcome of a task that failed meanwhile. */
export async function acceptLate(
  db: Db,
  input: { submission: number; idx: number; attempt: number | null },
): Promise<AcceptResult> {
  const of = db.dialect === 'postgres' ? sql`for update of t` : sql``;
  const task = await firstRow<TaskRow>(
    db,
    sql`select ${TASK_ROW} from tasks t join submissions s on s.id = t.submission_id
    where t.submission_id = ${input.submission} and t.idx = ${input.idx} ${of}`,
  );
  const which = input.attempt === null ? sql`` : sql`and attempt = ${input.attempt}`;
  const late = await firstRow<{ report: string }>(
    db,
    sql`select report from late_reports where submission_id = ${input.submission} and idx = ${input.idx} ${which} order by id desc limit 1`,
  );
  if (!late) return 'no-late-report';
  if (task?.state !== 'failed') return 'not-failed';
  const told = JSON.parse(late.report) as StoredReport & { readonly document?: string };
  const report = await asItCounts(db, task, told);
  if (report.outcome !== told.outcome) return 'files-gone';
  const asIfCurrent = {
    ...toFacts(task),
    state: 'queued' as const,
    attempt: report.attempt,
    attemptState: 'open' as const,
  };
  const verdict = judgeReport(
    asIfCurrent,
    { attempt: report.attempt, outcome: report.outcome, reason: report.reason ?? undefined },
    { retries: 0, backoffMs: 0, lost: 1, ended: 1 },
    db.now,
  );
  if (!verdict.ok || verdict.repeated) return 'no-late-report';
  await applyMoves(db, [
    {
      task,
      state: verdict.next.state,
      attemptState: 'reported',
      reason: verdict.next.state === 'failed' ? verdict.next.reason : null,
      exitCode: report.exitCode,
      startedAt: report.startedAt,
      ...verdict.counters,
    },
  ]);
  await replaceAttempt(db, report);
  if (told.document !== undefined) await acceptDocument(db, task, told.document);
  if (verdict.next.state === 'succeeded') await dropCheckpoints(db, [report]);
  await db.run(
    sql`delete from late_reports where submission_id = ${input.submission} and idx = ${input.idx} and attempt = ${report.attempt}`,
  );
  return 'accepted';
}

/** A result that came as a whole token. */
async function acceptDocument(db: Db, task: TaskRow, body: string): Promise<void> {
  await db.run(sql`update documents set body = ${body}, attempt = ${task.attempt}, claims = null, sequence = ${db.nextSequence}
    where submission_id = ${task.submission_id} and idx = ${task.idx}`);
}

async function replaceAttempt(db: Db, report: StoredReport): Promise<void> {
  const { submission, idx, attempt } = report;
  await db.run(sql`delete from attempts where submission_id = ${submission} and idx = ${idx} and attempt = ${attempt}`);
  await db.run(sql`insert into attempts (submission_id, idx, attempt, outcome, started_at, ended_at, exit_code, signal, reason, message, wall_seconds, cpu_seconds, peak_memory, outputs, result)
    values (${submission}, ${idx}, ${attempt}, ${report.outcome}, ${report.startedAt}, ${db.now}, ${report.exitCode}, ${report.signal}, ${report.reason}, ${report.message},
      ${report.wallSeconds}, ${report.cpuSeconds}, ${report.peakMemory}, ${report.outputs}, ${report.result})`);
  await keepLogs(
    db,
    report.logs.map((log) => ({ ...log, submission, idx, attempt, start: 0 })),
  );
}
