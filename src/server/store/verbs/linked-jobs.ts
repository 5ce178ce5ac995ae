import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';
import type { ServiceJobRow } from './service-jobs.ts';

/** The job that a secret link opens, if it is this one; a wrong secret finds nothing, as an unknown job does. */
export async function findLinkedJob(
  db: Db,
  input: { project: string; number: string; linkHash: string },
): Promise<LinkedJobRow | null> {
  const row = await firstRow<Omit<LinkedJobRow, 'log'>>(
    db,
    sql`select v.*, j.project_id, j.uid, j.number, j.name, j.owner, j.state, j.created_at, j.started_at, j.finished_at, s.name as service, s.title, s.schema, cast(${db.now} as bigint) as now
      from service_jobs v join jobs j on j.id = v.job_id join services s on s.id = v.service_id join projects p on p.id = j.project_id
      where v.link_hash = ${input.linkHash} and j.number = ${input.number} and p.name = ${input.project}`,
  );
  return row ? { ...row, log: await jobLog(db, row.job_id) } : null;
}

/** What a job's link is made from, and the hash of the secret that was told. */
export async function linkOfJob(
  db: Db,
  input: { project: string; number: string },
): Promise<{ uid: string; link_hash: string } | null> {
  const row = await firstRow<{ uid: string; link_hash: string }>(
    db,
    sql`select j.uid, v.link_hash from jobs j join service_jobs v on v.job_id = j.id join projects p on p.id = j.project_id
      where p.name = ${input.project} and j.number = ${input.number}`,
  );
  return row ?? null;
}

export interface LinkedJobRow extends ServiceJobRow {
  /** Of the service. */
  readonly title: string | null;
  /** What the service takes: a JSON schema. */
  readonly schema: string;
  readonly started_at: number | null;
  readonly finished_at: number | null;
  readonly log: string | null;
  /** The database's time. */
  readonly now: number;
}

async function jobLog(db: Db, jobId: number): Promise<string | null> {
  return (await firstRow<{ text: string }>(db, sql`select text from job_logs where job_id = ${jobId}`))?.text ?? null;
}

/** The end of what the job's hooks have logged. */
export async function keepJobLog(db: Db, { jobId, text }: { jobId: number; text: string }): Promise<void> {
  await db.run(
    sql`insert into job_logs (job_id, text) values (${jobId}, ${text}) on conflict (job_id) do update set text = excluded.text`,
  );
}
