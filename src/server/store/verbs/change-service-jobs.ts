import type { JobState } from '../../../ground/base/job-state.ts';
import {
  type ChangeRefusal,
  dueAt,
  isActive,
  isResting,
  judgeChange,
  type Retention,
  type ServiceChange,
  type ServiceJob,
  type Wish,
} from '../../core/service-job.ts';
import type { Db } from '../db.ts';
import { dropJobBlobs, keepJobBlobs } from '../job-blobs.ts';
import { sql } from '../sql.ts';
import { keepJobLog } from './linked-jobs.ts';
import { lockJobs, type ServiceJobRow, toServiceJob } from './service-jobs.ts';
import { type HostKey, nextTouch, renewHost } from './services.ts';
import { setWish } from './wish-service-jobs.ts';
import { noticeJob, type OwnMail } from './write-notices.ts';

/** What goes with a change; undefined leaves what is there. Texts are JSON, but for `reason`, `directory` and `target`. */
export interface ChangeFacts {
  readonly directory?: string | null | undefined;
  readonly target?: string | null | undefined;
  readonly metadata?: string | undefined;
  readonly data?: string | null | undefined;
  readonly runner?: string | null | undefined;
  readonly progress?: string | null | undefined;
  readonly failure?: string | null | undefined;
  readonly reason?: string | null | undefined;
  /** What people may fetch: a tree that the project has. */
  readonly results?: { readonly tree: string; readonly files: number; readonly bytes: number } | undefined;
  readonly log?: string | undefined;
}

export interface StoredChange {
  readonly jobId: number;
  readonly change: ServiceChange;
  readonly facts: ChangeFacts;
  /** What the user is told when the job is complete, in place of the usual; null: nothing. */
  readonly mail?: OwnMail | null | undefined;
}

export type ChangeResult =
  | { readonly ok: true; readonly wish: Wish | null }
  | { readonly ok: false; readonly refusal: ChangeRefusal | 'unknown' };

export interface ChangesResult {
  readonly results: readonly ChangeResult[];
  /** Services with jobs that were released, or that have to end now, or whose time comes soon. */
  readonly woken: readonly number[];
  /** How many letters have to go. */
  readonly noticed: number;
}

/** Many changes of one host, in their order, each judged alone; null when another host took the service over. */
export async function changeServiceJobs(
  db: Db,
  input: HostKey & { readonly leaseMs: number; readonly changes: readonly StoredChange[] },
): Promise<ChangesResult | null> {
  const service = await renewHost(db, input);
  if (!service) return null;
  const retention = { archiveMs: service.archive_ms, expireMs: service.expire_ms };
  const ids = [...new Set(input.changes.map(({ jobId }) => jobId))];
  const rows = new Map((await lockJobs(db, ids)).map((row) => [row.job_id, row]));
  const woken = new Set<number>();
  const results: ChangeResult[] = [];
  let noticed = 0;
  for (const stored of input.changes) {
    const row = rows.get(stored.jobId);
    if (!row || row.service_id !== service.id) {
      results.push({ ok: false, refusal: 'unknown' });
      continue;
    }
    const judged = judgeChange(toServiceJob(row), stored.change);
    results.push(judged.ok ? { ok: true, wish: judged.job.wish } : judged);
    if (!judged.ok || judged.repeated) continue;
    if (stored.change.kind === 'gone') await remove(db, row, woken);
    else rows.set(row.job_id, await write(db, { row, stored, job: judged.job, retention }));
    const ended = rows.get(row.job_id) as ServiceJobRow;
    if (isSoon(db, ended)) woken.add(service.id);
    if (stored.change.kind === 'arrive') await tellDependents(db, ended, woken);
    const state = endOf(row, judged.job, stored.change);
    if (state !== null) noticed += await noticeJob(db, service, { row: ended, state, mail: stored.mail });
  }
  return { results, woken: [...woken], noticed };
}

/** The end that this change has led to, if there is one: a job is complete when its hook is through. */
function endOf(before: ServiceJobRow, job: ServiceJob, { kind }: ServiceChange): JobState | null {
  if (job.state === 'COMPLETED') return kind === 'settle' && before.settled === 0 ? job.state : null;
  return kind === 'arrive' && isResting(job.state) ? job.state : null;
}

/** Its host, which waits for news, would hear of it too late. */
const SOON_MS = 10_000;

function isSoon(db: Db, { due_at: due }: ServiceJobRow): boolean {
  return due !== null && due < db.now + SOON_MS;
}

interface Written {
  readonly row: ServiceJobRow;
  readonly stored: StoredChange;
  readonly job: ServiceJob;
  readonly retention: Retention;
}

async function write(db: Db, { row, stored, job, retention }: Written): Promise<ServiceJobRow> {
  const arrived = row.state !== job.state || (row.intent !== null && job.intent === null);
  const next = { ...withFacts(row, stored.facts), ...arrivalOf(db, row, job, arrived) };
  const due_at =
    job.settled && job.intent === null && job.wish === null ? dueAt(job.state, next.ended_at, retention) : null;
  const active = isActive(job) ? 1 : 0;
  await db.run(sql`update service_jobs set step = ${job.step}, run = ${job.run}, intent = ${job.intent}, wish = ${job.wish},
    wish_reason = ${job.wish === null ? null : row.wish_reason}, settled = ${job.settled ? 1 : 0}, active = ${active}, due_at = ${due_at},
    directory = ${next.directory}, target = ${next.target}, metadata = ${next.metadata}, data = ${next.data}, runner = ${next.runner},
    progress = ${next.progress}, failure = ${next.failure}, times = ${next.times}, ended_at = ${next.ended_at}, results = ${next.results}
    where job_id = ${row.job_id}`);
  if (arrived || stored.facts.reason !== undefined) await writeJob(db, row, job, stored.facts.reason);
  if (stored.facts.log !== undefined) await keepJobLog(db, { jobId: row.job_id, text: stored.facts.log });
  await keepFiles(db, row, { ...next, state: job.state });
  return { ...row, ...next, ...job, settled: job.settled ? 1 : 0, active, due_at };
}

/** Results can be fetched while the job is COMPLETED; what it came with stays until its directory goes. */
async function keepFiles(db: Db, row: ServiceJobRow, next: ServiceJobRow & { state: JobState }): Promise<void> {
  const { job_id: jobId, project_id: projectId } = row;
  if (next.results !== row.results) {
    await dropJobBlobs(db, { jobId, kind: 'result' });
    if (next.results !== null)
      await keepJobBlobs(db, { jobId, projectId, kind: 'result', digests: [JSON.parse(next.results).tree] });
  }
  if (next.state === 'EXPIRED' && row.inputs !== null) await dropJobBlobs(db, { jobId, kind: 'input' });
}

function withFacts(row: ServiceJobRow, { results, log: _log, reason: _reason, ...facts }: ChangeFacts) {
  const told = Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined));
  return {
    ...row,
    ...(told as Partial<ServiceJobRow>),
    ...(results === undefined ? {} : { results: JSON.stringify(results) }),
  };
}

const OVER: readonly JobState[] = ['COMPLETED', 'FAILED', 'CANCELLED'];

/** When it came there is kept for each state; what belongs to an earlier life is not. */
function arrivalOf(db: Db, row: ServiceJobRow, job: ServiceJob, arrived: boolean) {
  if (!arrived) return {};
  const again = job.state === 'INCOMING';
  const before = again
    ? { first: JSON.parse(row.times).first ?? JSON.parse(row.times).INCOMING }
    : JSON.parse(row.times);
  const times = JSON.stringify({ ...before, [job.state]: db.now });
  const over = { times, target: null, results: null };
  if (again) return { ...over, ended_at: null, failure: null, runner: null, data: null, progress: null };
  return { ...over, ended_at: OVER.includes(job.state) ? db.now : row.ended_at };
}

async function writeJob(db: Db, row: ServiceJobRow, job: ServiceJob, told: string | null | undefined): Promise<void> {
  const again = job.state === 'INCOMING' && row.state !== 'INCOMING';
  const started = job.state === 'RUNNING' && row.state !== 'RUNNING' ? db.now : null;
  const ended = row.state !== job.state && OVER.includes(job.state) ? db.now : null;
  const reason = again ? sql`null` : told === undefined ? sql`reason` : sql`cast(${told} as text)`;
  await db.run(sql`update jobs set state = ${job.state}, reason = ${reason},
    started_at = ${again ? sql`null` : sql`coalesce(started_at, cast(${started} as bigint))`},
    finished_at = ${again ? sql`null` : sql`coalesce(cast(${ended} as bigint), finished_at)`} where id = ${row.job_id}`);
}

/** COMPLETED lets go those that waited; what ended badly ends them. */
async function tellDependents(db: Db, row: ServiceJobRow, woken: Set<number>): Promise<void> {
  if (!OVER.includes(row.state)) return;
  const children = await db.rows<{ job_id: number }>(
    sql`select job_id from service_waits where on_job = ${row.job_id} and done = 0`,
  );
  if (children.length === 0) return;
  for (const child of await lockJobs(
    db,
    children.map(({ job_id: id }) => id),
  )) {
    woken.add(child.service_id);
    if (row.state === 'COMPLETED') await release(db, row.job_id, child);
    else if (child.state === 'INCOMING')
      await setWish(db, child, 'fail', `it comes after job ${row.number}, which is ${row.state}`);
  }
}

async function release(db: Db, on: number, child: ServiceJobRow): Promise<void> {
  await db.run(sql`update service_waits set done = 1 where on_job = ${on} and job_id = ${child.job_id}`);
  const waiting = child.waiting - 1;
  const active = isActive({ ...toServiceJob(child), waiting }) ? 1 : 0;
  await db.run(sql`update service_jobs set waiting = ${waiting}, active = ${active}, touched = ${await nextTouch(db, child.service_id)}
    where job_id = ${child.job_id}`);
}

/** Nothing of it stays. Those that wait for it wait for nothing any more. */
async function remove(db: Db, row: ServiceJobRow, woken: Set<number>): Promise<void> {
  const children = await db.rows<{ job_id: number }>(
    sql`select job_id from service_waits where on_job = ${row.job_id} and done = 0`,
  );
  if (children.length > 0)
    for (const child of await lockJobs(
      db,
      children.map(({ job_id: id }) => id),
    )) {
      woken.add(child.service_id);
      if (child.state === 'INCOMING')
        await setWish(db, child, 'fail', `it comes after job ${row.number}, which was deleted`);
    }
  await db.run(sql`delete from service_waits where on_job = ${row.job_id} or job_id = ${row.job_id}`);
  await db.run(sql`delete from service_jobs where job_id = ${row.job_id}`);
  for (const table of [sql`job_entries`, sql`late_records`, sql`job_blobs`, sql`job_logs`])
    await db.run(sql`delete from ${table} where job_id = ${row.job_id}`);
  await db.run(sql`delete from jobs where id = ${row.job_id}`);
}
