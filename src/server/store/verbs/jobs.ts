import type { Gate } from '../../core/submission.ts';
import type { RowState } from '../../core/task.ts';
import { type Db, firstRow } from '../db.ts';
import { joinSql, type Sql, sql } from '../sql.ts';
import { type SubmitInput, type SubmitResult, submit } from './submissions.ts';

/** A job with what its task tells, if it has one. */
export interface JobRow {
  readonly id: number;
  readonly project_id: number;
  readonly project: string;
  readonly uid: string;
  readonly number: string;
  readonly parent_id: number | null;
  readonly name: string | null;
  readonly owner: string;
  readonly site: string | null;
  readonly command: string | null;
  readonly submission_id: number | null;
  readonly state: string | null;
  readonly reason: string | null;
  readonly created_at: number;
  readonly started_at: number | null;
  readonly finished_at: number | null;
  readonly task_state: RowState | null;
  readonly gate: Gate | null;
  readonly attempt: number | null;
  readonly exit_code: number | null;
  readonly task_reason: string | null;
  readonly message: string | null;
  readonly progress: string | null;
  readonly site_state: string | null;
  readonly task_started_at: number | null;
  readonly task_finished_at: number | null;
  readonly session_id: string | null;
  /** Of a service's job. */
  readonly service: string | null;
  readonly service_progress: string | null;
}

export const JOB: Sql = sql`select j.*, p.name as project, t.state as task_state, s.gate, t.attempt, t.exit_code, t.reason as task_reason, t.progress,
    t.site_state, t.started_at as task_started_at, t.finished_at as task_finished_at, t.session_id,
    sv.name as service, v.progress as service_progress,
    (select a.message from attempts a where a.submission_id = t.submission_id and a.idx = t.idx and a.attempt = t.attempt) as message
  from jobs j join projects p on p.id = j.project_id left join submissions s on s.id = j.submission_id
    left join service_jobs v on v.job_id = j.id left join services sv on sv.id = v.service_id
    left join tasks t on t.submission_id = s.id and t.idx = 1`;

export interface NewJob {
  readonly uid: string;
  readonly name: string | null;
  readonly site: string;
  /** JSON. */
  readonly command: string;
  readonly entries: readonly NewEntry[];
  readonly submission: SubmitInput;
}

/** A line of a job's record; `body` is JSON. */
export interface NewEntry {
  readonly id: string;
  readonly kind: string;
  readonly body: string;
}

export type CreateJobResult = { readonly ok: true; readonly number: string } | Extract<SubmitResult, { ok: false }>;

/** A job and the one task that it runs as. A request that came before is answered with the job that it made. */
export async function createJob(db: Db, job: NewJob): Promise<CreateJobResult> {
  const { projectId, owner } = job.submission;
  await lockProject(db, projectId);
  const submitted = await submit(db, job.submission);
  if (!submitted.ok) return submitted;
  const [submission] = submitted.ids as [number];
  const before = await firstRow<{ number: string }>(
    db,
    sql`select number from jobs where submission_id = ${submission}`,
  );
  if (before) return { ok: true, number: before.number };
  const number = await nextNumber(db, projectId, null);
  await db.run(sql`insert into jobs (project_id, uid, number, name, owner, site, command, submission_id, created_at)
    values (${projectId}, ${job.uid}, ${number}, ${job.name}, ${owner}, ${job.site}, ${job.command}, ${submission}, ${db.now})`);
  const made = await firstRow<{ id: number }>(db, sql`select id from jobs where submission_id = ${submission}`);
  await addEntries(db, made?.id ?? 0, job.entries);
  // The spec travels with the claim: it says which job it is.
  const row = await firstRow<{ spec: string }>(db, sql`select spec from submissions where id = ${submission}`);
  const spec = JSON.parse(row?.spec ?? '{}');
  const told = { ...spec, site: { ...spec.site, job: { number, uid: job.uid } } };
  await db.run(sql`update submissions set spec = ${JSON.stringify(told)} where id = ${submission}`);
  return { ok: true, number };
}

/** Those that are there already stay as they are. Returns how many are new. */
export async function addEntries(db: Db, job: number, entries: readonly NewEntry[]): Promise<number> {
  if (entries.length === 0) return 0;
  const given = db.table({
    m_uid: ['text', entries.map(({ id }) => id)],
    m_number: ['bigint', entries.map((_, at) => at)],
    m_kind: ['text', entries.map(({ kind }) => kind)],
    m_body: ['text', entries.map(({ body }) => body)],
  });
  return db.run(sql`insert into job_entries (job_id, uid, number, kind, body)
    select ${job}, m_uid, (select count(*) from job_entries where job_id = ${job}) + m_number, m_kind, m_body from ${given} as given
    where true on conflict (job_id, uid) do nothing`);
}

/** Numbers are given one at a time. */
export async function lockProject(db: Db, projectId: number): Promise<void> {
  await db.rows(sql`select id from projects where id = ${projectId} ${db.lock.rows}`);
}

/** The next number of a project, or of the sub-jobs of a job. */
export async function nextNumber(db: Db, projectId: number, parent: JobRow | null): Promise<string> {
  const siblings = await db.rows<{ number: string }>(
    parent === null
      ? sql`select number from jobs where project_id = ${projectId} and parent_id is null order by id desc limit 1000`
      : sql`select number from jobs where parent_id = ${parent.id}`,
  );
  const last = siblings.reduce((most, { number }) => Math.max(most, Number(number.split('.').at(-1))), 0);
  return parent === null ? String(last + 1) : `${parent.number}.${last + 1}`;
}

export async function listJobs(
  db: Db,
  input: {
    projectId: number;
    before: number | null;
    limit: number;
    service?: string | null;
    states?: readonly string[] | null;
  },
): Promise<JobRow[]> {
  // The page first, from the newest on, and all else for its rows only.
  return db.rows<JobRow>(sql`${JOB} where j.id in (${pageOf(db, input)} limit ${input.limit}) order by j.id desc`);
}

function pageOf(db: Db, { projectId, before, service, states }: Parameters<typeof listJobs>[1]): Sql {
  const page = before === null ? sql`` : sql`and j.id < ${before}`;
  const inStates = states == null ? sql`` : sql`and j.state in (${joinSql(states.map(text), sql`, `)})`;
  if (service != null)
    return sql`select v.job_id from service_jobs v join jobs j on j.id = v.job_id
      where v.service_id = (select id from services where project_id = ${projectId} and name = ${service}) ${inStates} ${page} order by v.job_id desc`;
  // The sign keeps SQLite from sorting all jobs of a project.
  const plain = db.dialect === 'sqlite' ? sql`+` : sql``;
  return sql`select j.id from jobs j
    where ${plain}j.project_id = ${projectId} and ${plain}j.parent_id is null ${inStates} ${page} order by j.id desc`;
}

function text(value: string): Sql {
  return sql`${value}`;
}

export async function runningJobs(db: Db, input: { projectId: number }): Promise<JobRow[]> {
  return db.rows<JobRow>(sql`${JOB} where j.project_id = ${input.projectId} and t.state = 'running' order by j.id`);
}

export interface JobDetailRow extends JobRow {
  readonly entries: readonly string[];
  readonly jobs: readonly JobRow[];
  readonly late: readonly { readonly received_at: number; readonly record: string }[];
}

export async function getJob(db: Db, input: { projectId: number; number: string }): Promise<JobDetailRow | null> {
  const row = await firstRow<JobRow>(
    db,
    sql`${JOB} where j.project_id = ${input.projectId} and j.number = ${input.number}`,
  );
  if (!row) return null;
  const entries = await db.rows<{ body: string }>(
    sql`select body from job_entries where job_id = ${row.id} order by number`,
  );
  const jobs = await db.rows<JobRow>(sql`${JOB} where j.parent_id = ${row.id} order by j.id`);
  const late = await db.rows<{ received_at: number; record: string }>(
    sql`select received_at, record from late_records where job_id = ${row.id} order by received_at`,
  );
  return { ...row, entries: entries.map(({ body }) => body), jobs, late };
}

/** A project's name for other databases, made when it is first wanted. */
export async function projectUid(db: Db, input: { projectId: number; fresh: string }): Promise<string> {
  await db.run(sql`update projects set uid = ${input.fresh} where id = ${input.projectId} and uid is null`);
  const row = await firstRow<{ uid: string }>(db, sql`select uid from projects where id = ${input.projectId}`);
  return row?.uid ?? '';
}
