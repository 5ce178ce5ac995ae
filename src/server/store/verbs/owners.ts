/** What administrators give to owners of tasks and projects: a weight and limits. An owner is a user, or the name of a token. */
import { type Account, NO_USAGE } from '../../core/fair-share.ts';
import { type Db, firstRow } from '../db.ts';
import { accountsOf } from '../owner-usage.ts';
import { sql } from '../sql.ts';
import { type AuditEntry, keepAudit } from './audit.ts';

export interface OwnerRow {
  readonly name: string;
  readonly weight: number;
  readonly running_limit: number | null;
  readonly storage_limit: number | null;
}

/** What is not given stays as it is; null: no limit. */
export interface OwnerChange {
  readonly name: string;
  readonly weight?: number | undefined;
  readonly runningLimit?: number | null | undefined;
  readonly storageLimit?: number | null | undefined;
  readonly audit?: AuditEntry;
}

/** 'unknown': neither a user nor a token is called so, and it has no tasks. */
export async function setOwner(db: Db, change: OwnerChange): Promise<'set' | 'unknown'> {
  const { name, weight, runningLimit, storageLimit, audit } = change;
  if (!(await isKnown(db, name))) return 'unknown';
  await db.run(sql`insert into owners (name) values (${name}) on conflict (name) do nothing`);
  if (weight !== undefined)
    await db.run(sql`update owners set weight = cast(${String(weight)} as double precision) where name = ${name}`);
  if (runningLimit !== undefined)
    await db.run(sql`update owners set running_limit = ${runningLimit} where name = ${name}`);
  if (storageLimit !== undefined)
    await db.run(sql`update owners set storage_limit = ${storageLimit} where name = ${name}`);
  await keepAudit(db, audit);
  return 'set';
}

async function isKnown(db: Db, name: string): Promise<boolean> {
  const row = await firstRow(
    db,
    sql`select 1 as one from users where name = ${name} and role is not null
    union all select 1 from tokens where name = ${name} and user_name is null and kind <> 'session'
    union all select 1 from owner_usage where owner = ${name} limit 1`,
  );
  return row !== undefined;
}

/** Who comes later under that name is somebody else. What runs stays on record until it ends. */
export async function forgetOwner(db: Db, name: string): Promise<void> {
  await db.run(sql`delete from owners where name = ${name}`);
  await db.run(sql`update owner_usage set slot_seconds = 0, at = ${db.now} where owner = ${name}`);
}

export interface OwnerUsage extends Omit<Account, 'at'> {
  readonly name: string;
  readonly weight: number;
  readonly runningLimit: number | null;
  readonly storageLimit: number | null;
  readonly storedBytes: number;
}

/** Those to whom something was given. */
export async function listGiven(db: Db): Promise<OwnerRow[]> {
  return db.rows<OwnerRow>(sql`select name, weight, running_limit, storage_limit from owners order by name`);
}

/** All users, and whoever else runs something, has lately, or was given something. */
export async function listOwners(db: Db, input: { halfLifeMs: number }): Promise<OwnerUsage[]> {
  const accounts = await accountsOf(db, null, input.halfLifeMs);
  const given = new Map((await listGiven(db)).map((row) => [row.name, row]));
  const users = await db.rows<{ name: string }>(sql`select name from users where role is not null`);
  const stored = await storedByOwner(db);
  const busy = [...accounts].filter(([, account]) => account.slotSeconds >= 1 || account.tasks !== 0);
  const names = new Set([...users.map(({ name }) => name), ...given.keys(), ...busy.map(([name]) => name)]);
  return [...names].sort().map((name) => {
    const { slotSeconds, slots, tasks } = accounts.get(name) ?? NO_USAGE;
    const {
      weight = 1,
      running_limit: runningLimit = null,
      storage_limit: storageLimit = null,
    } = given.get(name) ?? {};
    return { name, weight, slotSeconds, slots, tasks, runningLimit, storageLimit, storedBytes: stored.get(name) ?? 0 };
  });
}

async function storedByOwner(db: Db): Promise<Map<string, number>> {
  const rows = await db.rows<{ owner: string; bytes: number }>(
    sql`select p.owner, sum(u.bytes) as bytes from project_usage u join projects p on p.id = u.project_id where p.peer_id is null group by p.owner`,
  );
  return new Map(rows.map(({ owner, bytes }) => [owner, Number(bytes)]));
}

export async function setRunningLimit(
  db: Db,
  { projectId, limit, audit }: { projectId: number; limit: number | null; audit?: AuditEntry },
): Promise<void> {
  await db.run(sql`update projects set running_limit = ${limit} where id = ${projectId}`);
  await keepAudit(db, audit);
}
