import type { JobState } from '../../../ground/base/job-state.ts';
import { mayWish, type Wish } from '../../core/service-job.ts';
import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';
import { lockJobs, type ServiceJobRow, toServiceJob } from './service-jobs.ts';
import { nextTouch } from './services.ts';

export interface WishInput {
  readonly projectId: number;
  readonly wish: Exclude<Wish, 'archive' | 'expire'>;
  readonly reason: string | null;
  /** These jobs, or all of a service. */
  readonly numbers: readonly string[] | null;
  readonly serviceId: number | null;
}

export interface WishResult {
  readonly wished: readonly { readonly number: string; readonly service: number }[];
  readonly refused: readonly { readonly number: string; readonly state: JobState | null; readonly why?: string }[];
}

/** Says what is to become of jobs; their hosts do it. Of all jobs of a service those are meant that can be. */
export async function wishServiceJobs(db: Db, input: WishInput): Promise<WishResult> {
  const rows = input.numbers === null ? await jobsOf(db, input) : await named(db, input, input.numbers);
  const wished: { number: string; service: number }[] = [];
  const refused: { number: string; state: JobState | null; why?: string }[] = [];
  const found = new Set(rows.map(({ number }) => number));
  for (const number of input.numbers ?? []) if (!found.has(number)) refused.push({ number, state: null });
  for (const row of rows) {
    const why = input.wish === 'resubmit' ? await missingParent(db, row.job_id) : undefined;
    if (!mayWish(toServiceJob(row), input.wish)) {
      if (input.numbers !== null) refused.push({ number: row.number, state: row.state });
    } else if (why !== undefined) refused.push({ number: row.number, state: row.state, why });
    else {
      await setWish(db, row, input.wish, input.reason);
      wished.push({ number: row.number, service: row.service_id });
    }
  }
  return { wished, refused };
}

async function named(db: Db, { projectId }: WishInput, numbers: readonly string[]): Promise<ServiceJobRow[]> {
  const given = db.table({ m_number: ['text', numbers] });
  const ids = await db.rows<{ id: number }>(
    sql`select id from jobs where project_id = ${projectId} and number in (select m_number from ${given} as given)`,
  );
  return ids.length === 0
    ? []
    : lockJobs(
        db,
        ids.map(({ id }) => id),
      );
}

async function jobsOf(db: Db, { serviceId }: WishInput): Promise<ServiceJobRow[]> {
  const ids = await db.rows<{ job_id: number }>(
    sql`select job_id from service_jobs where service_id = ${serviceId ?? 0}`,
  );
  return ids.length === 0
    ? []
    : lockJobs(
        db,
        ids.map(({ job_id: id }) => id),
      );
}

export async function setWish(db: Db, row: ServiceJobRow, wish: Wish, reason: string | null): Promise<void> {
  await db.run(sql`update service_jobs set wish = ${wish}, wish_reason = ${reason}, active = 1, due_at = null,
    touched = ${await nextTouch(db, row.service_id)} where job_id = ${row.job_id}`);
}

/** What it waited for has to go first. */
async function missingParent(db: Db, job: number): Promise<string | undefined> {
  const row = await firstRow<{ number: string; state: string }>(
    db,
    sql`select j.number, j.state from service_waits w join jobs j on j.id = w.on_job
      where w.job_id = ${job} and w.done = 0 and j.state in ('FAILED', 'CANCELLED') order by j.id limit 1`,
  );
  return row && `it comes after job ${row.number}, which is ${row.state}: resubmit that one first`;
}

/** Jobs whose time in their state is over get the wish for the next one. Returns how many, `most` at most. */
export async function wishDue(db: Db, input: { serviceId: number; most: number }): Promise<number> {
  const due = await db.rows<{ job_id: number }>(
    sql`select job_id from service_jobs where service_id = ${input.serviceId} and due_at <= ${db.now} order by due_at limit ${input.most}`,
  );
  if (due.length === 0) return 0;
  for (const row of await lockJobs(
    db,
    due.map(({ job_id: id }) => id),
  )) {
    const wish = row.state === 'COMPLETED' ? 'archive' : 'expire';
    if (mayWish(toServiceJob(row), wish)) await setWish(db, row, wish, null);
    else await db.run(sql`update service_jobs set due_at = null where job_id = ${row.job_id}`);
  }
  return due.length;
}
