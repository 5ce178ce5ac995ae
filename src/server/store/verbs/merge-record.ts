import type { JobState } from '../../../ground/base/job-state.ts';
import { isJobOver, jobState } from '../../core/job.ts';
import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';
import { addEntries, JOB, type JobRow, lockProject, type NewEntry, nextNumber } from './jobs.ts';

/** A job of a record that came back. Texts are JSON, times in milliseconds. */
export interface RecordedJob {
  readonly uid: string;
  readonly parent: string | null;
  readonly number: string;
  readonly name: string | null;
  readonly owner: string;
  readonly state: JobState;
  readonly reason: string | null;
  readonly command: string | null;
  readonly createdAt: number;
  readonly startedAt: number | null;
  readonly finishedAt: number | null;
  readonly entries: readonly NewEntry[];
  /** Of all that it says. */
  readonly digest: string;
}

export interface MergeInput {
  readonly projectId: number;
  readonly projectUid: string;
  readonly jobs: readonly RecordedJob[];
}

export type MergeAnswer = 'merged' | 'unchanged' | 'late';
export type MergeResult =
  | { readonly ok: true; readonly jobs: readonly { uid: string; number: string; answer: MergeAnswer }[] }
  | { readonly ok: false; readonly refusal: 'foreign-project' | 'orphan'; readonly uid?: string };

/**
 * All of a record or nothing of it, and twice is once. A job that ended here keeps its state, and what came for it is
 * kept aside; a number that is taken here makes way for a new one.
 */
export async function mergeRecord(db: Db, input: MergeInput): Promise<MergeResult> {
  await lockProject(db, input.projectId);
  const project = await firstRow<{ uid: string | null }>(
    db,
    sql`select uid from projects where id = ${input.projectId}`,
  );
  if (project?.uid !== input.projectUid) return { ok: false, refusal: 'foreign-project' };
  const known = await knownJobs(db, input);
  const refusal = refusalOf(input, known);
  if (refusal) return { ok: false, refusal };
  const answers: { uid: string; number: string; answer: MergeAnswer }[] = [];
  for (const job of input.jobs) {
    const here = known.get(job.uid);
    const row = here ?? (await insertJob(db, input.projectId, job, known));
    known.set(job.uid, row);
    const answer = here ? await mergeInto(db, here, job) : 'merged';
    if (!here) await addEntries(db, row.id, job.entries);
    answers.push({ uid: job.uid, number: row.number, answer });
  }
  return { ok: true, jobs: answers };
}

/** Of the jobs of a record, and of those that they belong to, those that are here. */
async function knownJobs(db: Db, { jobs }: MergeInput): Promise<Map<string, JobRow>> {
  const uids = [...new Set(jobs.flatMap(({ uid, parent }) => (parent === null ? [uid] : [uid, parent])))];
  const given = db.table({ m_uid: ['text', uids] });
  const rows = await db.rows<JobRow>(sql`${JOB} where j.uid in (select m_uid from ${given} as given)`);
  return new Map(rows.map((row) => [row.uid, row]));
}

function refusalOf({ projectId, jobs }: MergeInput, known: ReadonlyMap<string, JobRow>) {
  if ([...known.values()].some((row) => row.project_id !== projectId)) return 'foreign-project';
  const there = new Set(known.keys());
  for (const { uid, parent } of jobs) {
    if (parent !== null && !there.has(parent)) return 'orphan';
    there.add(uid);
  }
  return undefined;
}

async function insertJob(
  db: Db,
  projectId: number,
  job: RecordedJob,
  known: ReadonlyMap<string, JobRow>,
): Promise<JobRow> {
  const parent = job.parent === null ? null : (known.get(job.parent) as JobRow);
  const number = (await isFree(db, projectId, parent, job.number))
    ? job.number
    : await nextNumber(db, projectId, parent);
  await db.run(sql`insert into jobs (project_id, uid, number, parent_id, name, owner, command, state, reason, created_at, started_at, finished_at)
    values (${projectId}, ${job.uid}, ${number}, ${parent?.id ?? null}, ${job.name}, ${job.owner}, ${job.command}, ${job.state}, ${job.reason},
      ${job.createdAt}, ${job.startedAt}, ${job.finishedAt})`);
  return (await firstRow<JobRow>(db, sql`${JOB} where j.uid = ${job.uid}`)) as JobRow;
}

/** May it keep its number here? That of a sub-job begins with its job's. */
async function isFree(db: Db, projectId: number, parent: JobRow | null, number: string): Promise<boolean> {
  const above = number.split('.').slice(0, -1).join('.');
  if (above !== (parent?.number ?? '')) return false;
  const taken = await db.rows(sql`select 1 as one from jobs where project_id = ${projectId} and number = ${number}`);
  return taken.length === 0;
}

async function mergeInto(db: Db, here: JobRow, job: RecordedJob): Promise<MergeAnswer> {
  const notes = await addEntries(
    db,
    here.id,
    job.entries.filter(({ kind }) => kind === 'note'),
  );
  if (isJobOver(stateOf(here))) return (await isMerged(db, here.id, job)) ? 'unchanged' : keepLate(db, here.id, job);
  const added = await addEntries(db, here.id, job.entries);
  const changed = here.submission_id === null ? await updateJob(db, here, job) : 0;
  return notes + added + changed > 0 ? 'merged' : 'unchanged';
}

/** Of a job that runs as a task the task tells; of another the record does. */
export function stateOf(row: JobRow): JobState {
  if (row.task_state === null) return row.state as JobState;
  const phase = row.site_state === null ? undefined : JSON.parse(row.site_state).phase;
  return jobState(row.task_state, phase);
}

async function updateJob(db: Db, here: JobRow, job: RecordedJob): Promise<number> {
  const { state, reason, startedAt, finishedAt } = job;
  if (here.state === state && here.reason === reason && here.finished_at === finishedAt) return 0;
  return db.run(sql`update jobs set state = ${state}, reason = ${reason}, started_at = coalesce(${startedAt}, started_at), finished_at = ${finishedAt}
    where id = ${here.id}`);
}

/** Is all of it here, from a merge before the job ended? */
async function isMerged(db: Db, job: number, { entries, digest }: RecordedJob): Promise<boolean> {
  const kept = await db.rows(sql`select 1 as one from late_records where job_id = ${job} and digest = ${digest}`);
  if (kept.length > 0) return true;
  const here = await db.rows<{ uid: string }>(sql`select uid from job_entries where job_id = ${job}`);
  const there = new Set(here.map(({ uid }) => uid));
  return entries.every(({ id }) => there.has(id));
}

async function keepLate(db: Db, job: number, recorded: RecordedJob): Promise<MergeAnswer> {
  await db.run(sql`insert into late_records (job_id, digest, received_at, record)
    values (${job}, ${recorded.digest}, ${db.now}, ${JSON.stringify(recorded.entries.map(({ body }) => JSON.parse(body)))})
    on conflict (job_id, digest) do nothing`);
  return 'late';
}
