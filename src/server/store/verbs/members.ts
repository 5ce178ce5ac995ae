import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';
import { type AuditEntry, keepAudit } from './audit.ts';
import type { Role } from './users.ts';

/** Names of the projects that a regular user may enter: their own, and those they were granted. */
export async function projectsOfUser(db: Db, name: string): Promise<string[]> {
  const rows = await db.rows<{ name: string }>(sql`select p.name from projects p
    where p.owner = ${name} or exists (select 1 from members m where m.project_id = p.id and m.user_name = ${name}) order by p.name`);
  return rows.map((row) => row.name);
}

/** As `projectsOfUser`; null: there is no such user; `all` for an administrator. */
export async function accessOfUser(db: Db, input: { name: string }): Promise<'all' | string[] | null> {
  const row = await firstRow<{ role: Role | null }>(db, sql`select role from users where name = ${input.name}`);
  if (!row?.role) return null;
  return row.role === 'administrator' ? 'all' : projectsOfUser(db, input.name);
}

export interface MemberRow {
  readonly user_name: string;
  readonly granted_by: string;
  readonly granted_at: number;
}

export async function listMembers(db: Db, input: { projectId: number }): Promise<MemberRow[]> {
  return db.rows<MemberRow>(
    sql`select user_name, granted_by, granted_at from members where project_id = ${input.projectId} order by user_name`,
  );
}

interface Grant {
  readonly projectId: number;
  readonly user: string;
  readonly audit?: AuditEntry;
}

export async function grantProject(
  db: Db,
  { projectId, user, by, audit }: Grant & { readonly by: string },
): Promise<'granted' | 'granted-before' | 'is-owner' | 'no-user'> {
  if (!(await isUser(db, user))) return 'no-user';
  if ((await ownerOf(db, projectId)) === user) return 'is-owner';
  const made = await db.run(sql`insert into members (project_id, user_name, granted_by, granted_at)
    values (${projectId}, ${user}, ${by}, ${db.now}) on conflict (project_id, user_name) do nothing`);
  if (made === 0) return 'granted-before';
  await keepAudit(db, audit);
  return 'granted';
}

/** The workers that came with the user's tokens lose the project too. */
export async function revokeProject(
  db: Db,
  { projectId, user, audit }: Grant,
): Promise<'revoked' | 'is-owner' | 'no-member'> {
  if ((await ownerOf(db, projectId)) === user) return 'is-owner';
  const gone = await db.run(sql`delete from members where project_id = ${projectId} and user_name = ${user}`);
  if (gone === 0) return 'no-member';
  await narrowWorkers(db, user);
  await keepAudit(db, audit);
  return 'revoked';
}

/** The owner before stays a member, whom the new one may revoke. */
export async function transferProject(
  db: Db,
  { projectId, user, by, audit }: Grant & { readonly by: string },
): Promise<'transferred' | 'is-owner' | 'no-user'> {
  if (!(await isUser(db, user))) return 'no-user';
  const before = await ownerOf(db, projectId);
  if (before === user) return 'is-owner';
  await db.run(sql`update projects set owner = ${user} where id = ${projectId}`);
  await db.run(sql`delete from members where project_id = ${projectId} and user_name = ${user}`);
  if (before !== undefined && (await isUser(db, before)))
    await db.run(sql`insert into members (project_id, user_name, granted_by, granted_at)
      values (${projectId}, ${before}, ${by}, ${db.now}) on conflict (project_id, user_name) do nothing`);
  await keepAudit(db, audit);
  return 'transferred';
}

/** Locked, so that they are not removed meanwhile. */
async function isUser(db: Db, name: string): Promise<boolean> {
  const row = await firstRow(db, sql`select name from users where name = ${name} and role is not null ${db.lock.rows}`);
  return row !== undefined;
}

async function ownerOf(db: Db, projectId: number): Promise<string | undefined> {
  const row = await firstRow<{ owner: string }>(
    db,
    sql`select owner from projects where id = ${projectId} ${db.lock.rows}`,
  );
  return row?.owner;
}

/** A worker has its projects from when it registered: those that its user may not enter any more are taken from it, also from one that is lost and may come back. */
export async function narrowWorkers(db: Db, user: string): Promise<void> {
  const access = await accessOfUser(db, { name: user });
  if (access === 'all') return;
  const workers = await db.rows<{ session_id: string; projects: string | null }>(
    sql`select session_id, projects from workers where state <> 'ended'
      and token_id in (select id from tokens where user_name = ${user}) order by session_id ${db.lock.rows}`,
  );
  if (workers.length === 0) return;
  const rows = await db.rows<{ id: number; name: string }>(sql`select id, name from projects order by id`);
  const open = rows.filter(({ name }) => access?.includes(name)).map(({ id }) => id);
  for (const { session_id: session, projects } of workers) {
    const had = projects === null ? open : (JSON.parse(projects) as number[]);
    const left = JSON.stringify(had.filter((id) => open.includes(id)));
    await db.run(sql`update workers set projects = ${left} where session_id = ${session}`);
  }
}
