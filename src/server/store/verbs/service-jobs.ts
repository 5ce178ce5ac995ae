import type { JobState } from '../../../ground/base/job-state.ts';
import type { ServiceJob, Wish } from '../../core/service-job.ts';
import { type Db, firstRow } from '../db.ts';
import { keepJobBlobs } from '../job-blobs.ts';
import { EMPTY, type Sql, sql } from '../sql.ts';
import { lockProject, nextNumber } from './jobs.ts';
import { nextTouch } from './services.ts';

/** A service's job. Texts that hold more than words are JSON. */
export interface ServiceJobRow {
  readonly job_id: number;
  readonly service_id: number;
  readonly project_id: number;
  readonly service: string;
  readonly uid: string;
  readonly number: string;
  readonly name: string | null;
  readonly owner: string;
  readonly state: JobState;
  readonly created_at: number;
  readonly link_hash: string;
  readonly contact: string | null;
  readonly parameters: string;
  readonly inputs: string | null;
  readonly results: string | null;
  readonly metadata: string;
  readonly times: string;
  readonly ended_at: number | null;
  readonly step: number;
  readonly run: number;
  readonly intent: JobState | null;
  readonly wish: Wish | null;
  readonly wish_reason: string | null;
  readonly waiting: number;
  readonly settled: number;
  readonly active: number;
  readonly touched: number;
  readonly due_at: number | null;
  readonly directory: string | null;
  readonly target: string | null;
  readonly data: string | null;
  readonly runner: string | null;
  readonly failure: string | null;
  readonly progress: string | null;
}

export const SERVICE_JOB: Sql = sql`select v.*, j.project_id, j.uid, j.number, j.name, j.owner, j.state, j.created_at, s.name as service
  from service_jobs v join jobs j on j.id = v.job_id join services s on s.id = v.service_id`;

export function toServiceJob(row: ServiceJobRow): ServiceJob {
  const { state, intent, step, run, wish, waiting } = row;
  return { state, intent, step, run, wish, waiting, settled: row.settled === 1 };
}

/** Rows that are about to change; others wait for this to be committed. */
export async function lockJobs(db: Db, ids: readonly number[]): Promise<ServiceJobRow[]> {
  const given = db.table({ m_id: ['bigint', ids] });
  const lock = db.dialect === 'postgres' ? sql`for update of v` : EMPTY;
  return db.rows<ServiceJobRow>(
    sql`${SERVICE_JOB} where v.job_id in (select m_id from ${given} as given) order by v.job_id ${lock}`,
  );
}

export interface NewServiceJob {
  readonly projectId: number;
  readonly serviceId: number;
  readonly uid: string;
  readonly name: string | null;
  readonly owner: string;
  readonly requestId: string;
  readonly linkHash: string;
  readonly contact: string | null;
  readonly parameters: string;
  /** A directory with its input, which is there already. */
  readonly directory: string | null;
  /** Files that the project has, to be put into its directory. */
  readonly inputs: readonly { readonly name: string; readonly digest: string; readonly size: number }[];
  /** Numbers of jobs of the project's services. */
  readonly after: readonly string[];
}

export type NewServiceJobResult =
  | { readonly ok: true; readonly number: string; readonly uid: string }
  | {
      readonly ok: false;
      readonly refusal: 'no-such-job' | 'ended-badly' | 'directory-taken';
      readonly number: string;
    }
  /** That request made a job of another service. */
  | { readonly ok: false; readonly refusal: 'request-taken' }
  /** So many are unfinished already. */
  | { readonly ok: false; readonly refusal: 'too-many' | 'too-many-of-owner'; readonly most: number };

/** A job that waits to be taken up. A request that came before is answered with the job that it made. */
export async function createServiceJob(db: Db, job: NewServiceJob): Promise<NewServiceJobResult> {
  await lockProject(db, job.projectId);
  const before = await firstRow<{ number: string; uid: string; service_id: number }>(
    db,
    sql`select j.number, j.uid, v.service_id from service_jobs v join jobs j on j.id = v.job_id where v.request_id = ${job.requestId}`,
  );
  if (before && before.service_id !== job.serviceId) return { ok: false, refusal: 'request-taken' };
  if (before) return { ok: true, number: before.number, uid: before.uid };
  const full = await tooMany(db, job);
  if (full) return { ok: false, ...full };
  const parents = await parentsOf(db, job);
  if ('refusal' in parents) return { ok: false, ...parents };
  const holder = job.directory === null ? undefined : await holderOf(db, job.directory);
  if (holder !== undefined) return { ok: false, refusal: 'directory-taken', number: holder };
  const number = await nextNumber(db, job.projectId, null);
  await db.run(sql`insert into jobs (project_id, uid, number, name, owner, state, created_at)
    values (${job.projectId}, ${job.uid}, ${number}, ${job.name}, ${job.owner}, 'INCOMING', ${db.now})`);
  const made = await firstRow<{ id: number }>(db, sql`select id from jobs where uid = ${job.uid}`);
  const id = made?.id ?? 0;
  const waiting = parents.open.length;
  const inputs = job.inputs.length === 0 ? null : JSON.stringify(job.inputs);
  await db.run(sql`insert into service_jobs (job_id, service_id, request_id, link_hash, contact, parameters, inputs, times, waiting, active, touched, directory)
    values (${id}, ${job.serviceId}, ${job.requestId}, ${job.linkHash}, ${job.contact}, ${job.parameters}, ${inputs}, ${JSON.stringify({ INCOMING: db.now })},
      ${waiting}, ${waiting === 0 ? 1 : 0}, ${await nextTouch(db, job.serviceId)}, ${job.directory})`);
  await keepJobBlobs(db, {
    projectId: job.projectId,
    jobId: id,
    kind: 'input',
    digests: job.inputs.map(({ digest }) => digest),
  });
  for (const on of parents.open) await db.run(sql`insert into service_waits (on_job, job_id) values (${on}, ${id})`);
  return { ok: true, number, uid: job.uid };
}

/** Does the service take no more for now? Jobs that wait for others are not counted. */
async function tooMany(db: Db, { serviceId, owner }: NewServiceJob) {
  const limits = await firstRow<{ most_waiting: number | null; most_of_owner: number | null }>(
    db,
    sql`select most_waiting, most_of_owner from services where id = ${serviceId}`,
  );
  const unfinished = async (most: number, of: Sql): Promise<boolean> => {
    const rows =
      await db.rows(sql`select 1 as one from service_jobs v join jobs j on j.id = v.job_id where v.service_id = ${serviceId} and v.active = 1
      and j.state in ('INCOMING', 'PREPROCESSING', 'RUNNING', 'POSTPROCESSING', 'FINALIZING') ${of} limit ${most}`);
    return rows.length >= most;
  };
  const { most_waiting: all = null, most_of_owner: own = null } = limits ?? {};
  if (all !== null && (await unfinished(all, EMPTY))) return { refusal: 'too-many', most: all } as const;
  if (own !== null && (await unfinished(own, sql`and j.owner = ${owner}`)))
    return { refusal: 'too-many-of-owner', most: own } as const;
  return undefined;
}

async function holderOf(db: Db, directory: string): Promise<string | undefined> {
  const row = await firstRow<{ number: string }>(
    db,
    sql`select j.number from service_jobs v join jobs j on j.id = v.job_id where v.directory = ${directory} limit 1`,
  );
  return row?.number;
}

/** Those of the jobs named that are not complete yet. */
async function parentsOf(
  db: Db,
  { projectId, after }: NewServiceJob,
): Promise<{ open: number[] } | { refusal: 'no-such-job' | 'ended-badly'; number: string }> {
  const open: number[] = [];
  for (const number of new Set(after)) {
    const [row] = await db.rows<ServiceJobRow>(
      sql`${SERVICE_JOB} where j.project_id = ${projectId} and j.number = ${number}`,
    );
    if (!row) return { refusal: 'no-such-job', number };
    const [locked] = await lockJobs(db, [row.job_id]);
    const state = locked?.state ?? row.state;
    if (state === 'FAILED' || state === 'CANCELLED') return { refusal: 'ended-badly', number };
    if (!['COMPLETED', 'ARCHIVED', 'EXPIRED'].includes(state)) open.push(row.job_id);
  }
  return { open };
}

/** What the host has to do something for and what changed after `after`, in order. */
export async function activeJobs(
  db: Db,
  input: { serviceId: number; after: number; most: number },
): Promise<ServiceJobRow[]> {
  return db.rows<ServiceJobRow>(
    sql`${SERVICE_JOB} where v.service_id = ${input.serviceId} and v.active = 1 and v.touched > ${input.after}
      order by v.touched limit ${input.most}`,
  );
}

export async function getServiceJob(
  db: Db,
  input: { projectId: number; number: string },
): Promise<(ServiceJobRow & { readonly waitsFor: readonly string[] }) | null> {
  const row = await firstRow<ServiceJobRow>(
    db,
    sql`${SERVICE_JOB} where j.project_id = ${input.projectId} and j.number = ${input.number}`,
  );
  if (!row) return null;
  const waits = await db.rows<{ number: string }>(
    sql`select j.number from service_waits w join jobs j on j.id = w.on_job where w.job_id = ${row.job_id} and w.done = 0 order by j.id`,
  );
  return { ...row, waitsFor: waits.map(({ number }) => number) };
}

export async function countServiceJobs(db: Db, input: { serviceId: number }): Promise<Record<string, number>> {
  const rows = await db.rows<{ state: string; n: number }>(
    sql`select j.state, count(*) as n from service_jobs v join jobs j on j.id = v.job_id where v.service_id = ${input.serviceId} group by j.state`,
  );
  return Object.fromEntries(rows.map(({ state, n }) => [state, Number(n)]));
}

/** Those of the jobs named that the service has, and where they are. */
export async function knownServiceJobs(
  db: Db,
  input: { projectId: number; serviceId: number; numbers: readonly string[] },
): Promise<{ number: string; uid: string; directory: string | null }[]> {
  if (input.numbers.length === 0) return [];
  const given = db.table({ m_number: ['text', input.numbers] });
  return db.rows(sql`select j.number, j.uid, v.directory from jobs j join service_jobs v on v.job_id = j.id
    where j.project_id = ${input.projectId} and v.service_id = ${input.serviceId} and j.number in (select m_number from ${given} as given)`);
}
