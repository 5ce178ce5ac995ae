import { type Db, firstRow } from '../db.ts';
import { sameHash } from '../secrets.ts';
import { EMPTY, type Sql, sql } from '../sql.ts';

export interface ServiceRow {
  readonly id: number;
  readonly project_id: number;
  readonly project: string;
  readonly name: string;
  readonly title: string | null;
  /** JSON. */
  readonly schema: string;
  readonly incoming: string | null;
  readonly archive_ms: number | null;
  readonly expire_ms: number | null;
  /** So many jobs may be unfinished, and so many of one owner. */
  readonly most_waiting: number | null;
  readonly most_of_owner: number | null;
  readonly created_at: number;
  readonly host_number: number;
  readonly host_secret: string | null;
  /** JSON. */
  readonly host: string | null;
  readonly host_since: number | null;
  readonly host_until: number;
  readonly ended_at: number | null;
  readonly end_reason: string | null;
  readonly touched: number;
  readonly nudged: number;
  /** The database's time. */
  readonly now: number;
}

const service = (db: Db): Sql => sql`select s.*, p.name as project, cast(${db.now} as bigint) as now
  from services s join projects p on p.id = s.project_id`;

export interface HostInput {
  readonly projectId: number;
  readonly name: string;
  readonly title: string | null;
  readonly schema: string;
  readonly incoming: string | null;
  readonly archiveMs: number | null;
  readonly expireMs: number | null;
  readonly mostWaiting: number | null;
  readonly mostOfOwner: number | null;
  readonly host: string;
  readonly secretHash: string;
  readonly leaseMs: number;
  /** The number of a host that is known to be dead. */
  readonly takeOver: number | null;
}

export type HostResult =
  | { readonly ok: true; readonly id: number; readonly number: number; readonly now: number }
  | { readonly ok: false; readonly row: ServiceRow };

/** One live host for each service. A new one gets the next number, and with it the old one's changes are refused. */
export async function hostService(db: Db, input: HostInput): Promise<HostResult> {
  await db.run(sql`insert into services (project_id, name, schema, created_at)
    values (${input.projectId}, ${input.name}, '{}', ${db.now}) on conflict (project_id, name) do nothing`);
  const row = await lockService(db, sql`s.project_id = ${input.projectId} and s.name = ${input.name}`);
  if (!row) throw new Error('the service was not made');
  if (row.host_until > db.now && row.host_number !== input.takeOver) return { ok: false, row };
  const number = row.host_number + 1;
  await db.run(sql`update services set title = ${input.title}, schema = ${input.schema}, incoming = ${input.incoming},
    archive_ms = ${input.archiveMs}, expire_ms = ${input.expireMs}, most_waiting = ${input.mostWaiting}, most_of_owner = ${input.mostOfOwner}, host_number = ${number}, host_secret = ${input.secretHash},
    host = ${input.host}, host_since = ${db.now}, host_until = ${db.now + input.leaseMs}, ended_at = null, end_reason = null where id = ${row.id}`);
  if (row.archive_ms !== input.archiveMs || row.expire_ms !== input.expireMs) await recount(db, row.id, input);
  return { ok: true, id: row.id, number, now: db.now };
}

/** Other times are kept from now on: also for the jobs that are over. */
async function recount(db: Db, id: number, { archiveMs, expireMs }: HostInput): Promise<void> {
  const due = (state: string, ms: number | null): Sql =>
    sql`update service_jobs set due_at = ${ms === null ? sql`null` : sql`ended_at + cast(${ms} as bigint)`}
    where service_id = ${id} and ended_at is not null and job_id in (select id from jobs where state = ${state})`;
  await db.run(due('COMPLETED', archiveMs));
  await db.run(due('ARCHIVED', expireMs));
}

export interface HostKey {
  readonly projectId: number;
  readonly name: string;
  readonly number: number;
  readonly secretHash: string;
}

/** The service, if it is still this host that runs it; its lease is good for so long from now on. */
export async function renewHost(db: Db, key: HostKey & { leaseMs: number }): Promise<ServiceRow | undefined> {
  const row = await lockService(db, sql`s.project_id = ${key.projectId} and s.name = ${key.name}`);
  if (!row || row.host_number !== key.number || row.host_secret === null) return undefined;
  if (!sameHash(row.host_secret, key.secretHash)) return undefined;
  await db.run(sql`update services set host_until = ${db.now + key.leaseMs} where id = ${row.id}`);
  return row;
}

function lockService(db: Db, which: Sql): Promise<ServiceRow | undefined> {
  const lock = db.dialect === 'postgres' ? sql`for update of s` : EMPTY;
  return firstRow<ServiceRow>(db, sql`${service(db)} where ${which} ${lock}`);
}

/** The host ends; why, if it was not as planned. */
export async function leaveService(db: Db, key: HostKey & { reason: string | null }): Promise<boolean> {
  const row = await renewHost(db, { ...key, leaseMs: 0 });
  if (!row) return false;
  await db.run(sql`update services set host_secret = null, host_until = 0, ended_at = ${db.now}, end_reason = ${key.reason}
    where id = ${row.id}`);
  return true;
}

export async function nudgeService(db: Db, input: { id: number }): Promise<number> {
  return db.run(sql`update services set nudged = nudged + 1 where id = ${input.id}`);
}

/** The next number of what others than the host do to jobs of a service. Holds the service until this is committed. */
export async function nextTouch(db: Db, service: number): Promise<number> {
  await db.run(sql`update services set touched = touched + 1 where id = ${service}`);
  const row = await firstRow<{ touched: number }>(db, sql`select touched from services where id = ${service}`);
  return row?.touched ?? 0;
}

export async function listServices(db: Db, input: { projectId: number }): Promise<ServiceRow[]> {
  return db.rows<ServiceRow>(sql`${service(db)} where s.project_id = ${input.projectId} order by s.name`);
}

export async function getService(db: Db, input: { projectId: number; name: string }): Promise<ServiceRow | null> {
  const row = await firstRow<ServiceRow>(
    db,
    sql`${service(db)} where s.project_id = ${input.projectId} and s.name = ${input.name}`,
  );
  return row ?? null;
}
