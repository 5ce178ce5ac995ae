import { type Db, firstRow } from '../db.ts';
import { passwordMark } from '../secrets.ts';
import { sql } from '../sql.ts';
import { type AuditEntry, keepAudit } from './audit.ts';
import { narrowWorkers } from './members.ts';
import { forgetOwner } from './owners.ts';
import { endSessions, type Role, type UserRow } from './users.ts';

/** At the first start somebody can administrate. 'taken': the CouchDB face has somebody of that name, who is left alone. */
export async function firstAdministrator(
  db: Db,
  input: { name: string; hash: string },
): Promise<'made' | 'there' | 'taken'> {
  if ((await administrators(db)).length > 0) return 'there';
  const made = await insertUser(db, { name: input.name, passwordHash: null, role: 'administrator', hash: input.hash });
  if (made) return 'made';
  // Another server may have been first.
  return (await administrators(db)).length > 0 ? 'there' : 'taken';
}

export interface NewPerson {
  readonly name: string;
  readonly passwordHash: string | null;
  readonly role: Role;
  readonly hash: string;
  readonly audit?: AuditEntry;
}

/** 'couchdb': somebody of that name is known to the CouchDB face alone. */
export async function addPerson(db: Db, person: NewPerson): Promise<'added' | 'there' | 'couchdb'> {
  if (await insertUser(db, person)) {
    await keepAudit(db, person.audit);
    return 'added';
  }
  const standing = await firstRow<UserRow>(db, sql`select * from users where name = ${person.name}`);
  return standing?.role ? 'there' : 'couchdb';
}

async function insertUser(db: Db, { name, passwordHash, role, hash }: NewPerson): Promise<boolean> {
  const made =
    await db.run(sql`insert into users (name, password_hash, roles, fields, revision, rev_hash, created_at, role)
    values (${name}, ${passwordHash}, '[]', '{}', 1, ${hash}, ${db.now}, ${role}) on conflict (name) do nothing`);
  return made > 0;
}

/** Gives a user a role, and makes one of somebody whom the CouchDB face alone knew. */
export async function setRole(
  db: Db,
  { name, role, audit }: { name: string; role: Role; audit?: AuditEntry },
): Promise<'done' | 'unknown' | 'last-administrator'> {
  const before = await administrators(db);
  if (role !== 'administrator' && isLast(before, name)) return 'last-administrator';
  if ((await db.run(sql`update users set role = ${role}, revision = revision + 1 where name = ${name}`)) === 0)
    return 'unknown';
  await narrowWorkers(db, name);
  await keepAudit(db, audit);
  return 'done';
}

export interface NewPassword {
  readonly name: string;
  readonly passwordHash: string;
  readonly hash: string;
  /** This one of the user's sessions goes on. */
  readonly kept: number | null;
  /** What the user showed for it: the mark of the current password, and a session. Null: somebody else changes it. */
  readonly shown: { readonly mark: string; readonly session: number } | null;
  readonly audit?: AuditEntry;
}

/** Ends the user's sessions but one. Null: there is no such user. 'stale': what was shown is not good any more. */
export async function setPersonPassword(db: Db, input: NewPassword): Promise<{ ended: number } | 'stale' | null> {
  if (input.shown && !(await isGood(db, input.name, input.shown))) return 'stale';
  const changed =
    await db.run(sql`update users set password_hash = ${input.passwordHash}, revision = revision + 1, rev_hash = ${input.hash}
    where name = ${input.name} and role is not null`);
  if (changed === 0) return null;
  const ended = await endSessions(db, input.name, input.kept);
  await keepAudit(db, input.audit);
  return { ended };
}

async function isGood(db: Db, name: string, { mark, session }: NonNullable<NewPassword['shown']>): Promise<boolean> {
  const user = await firstRow<{ password_hash: string | null }>(
    db,
    sql`select password_hash from users where name = ${name} ${db.lock.rows}`,
  );
  const token = await firstRow(
    db,
    sql`select id from tokens where id = ${session} and user_name = ${name} and revoked_at is null and (expires_at is null or expires_at > ${db.now})`,
  );
  return user !== undefined && token !== undefined && passwordMark(user.password_hash) === mark;
}

export type RemoveResult =
  | { readonly kind: 'removed'; readonly projects: readonly string[] }
  | { readonly kind: 'owns'; readonly projects: readonly string[] }
  | { readonly kind: 'unknown' | 'last-administrator' | 'no-heir' };

/** A user goes, with sessions, tokens and grants, and what others let them into; what they own goes to the heir. */
export async function removePerson(
  db: Db,
  { name, heir, audit }: { name: string; heir: string | null; audit?: AuditEntry },
): Promise<RemoveResult> {
  if (isLast(await administrators(db), name)) return { kind: 'last-administrator' };
  const names = heir === null ? [name] : [name, heir].sort();
  const there: string[] = [];
  for (const one of names) if (await lockPerson(db, one)) there.push(one);
  if (!there.includes(name)) return { kind: 'unknown' };
  if (heir !== null && (heir === name || !there.includes(heir))) return { kind: 'no-heir' };
  const owned = await db.rows<{ name: string }>(
    sql`select name from projects where owner = ${name} order by name ${db.lock.rows}`,
  );
  const projects = owned.map((row) => row.name);
  if (projects.length > 0 && heir === null) return { kind: 'owns', projects };
  if (heir !== null) await inherit(db, name, heir);
  await db.run(sql`delete from members where user_name = ${name}`);
  await db.run(sql`delete from users where name = ${name}`);
  await narrowWorkers(db, name);
  await db.run(sql`update tokens set revoked_at = coalesce(revoked_at, ${db.now}) where user_name = ${name}`);
  await leaveDatabases(db, name);
  await forgetOwner(db, name);
  await keepAudit(db, audit);
  return { kind: 'removed', projects };
}

async function inherit(db: Db, name: string, heir: string): Promise<void> {
  await db.run(
    sql`delete from members where user_name = ${heir} and project_id in (select id from projects where owner = ${name})`,
  );
  await db.run(sql`update projects set owner = ${heir} where owner = ${name}`);
}

interface Group {
  readonly names?: readonly string[];
}

/** Who comes later under that name is somebody else, also to the databases of the CouchDB face that name them. */
async function leaveDatabases(db: Db, name: string): Promise<void> {
  const rows = await db.rows<{ id: number; security: string }>(
    sql`select id, security from projects where security is not null`,
  );
  for (const { id, security } of rows) {
    const { admins, members, ...rest } = JSON.parse(security) as { admins?: Group; members?: Group };
    const without = (group: Group | undefined) =>
      group && { ...group, names: (group.names ?? []).filter((one) => one !== name) };
    const left = JSON.stringify({ ...rest, admins: without(admins), members: without(members) });
    if (left !== security) await db.run(sql`update projects set security = ${left} where id = ${id}`);
  }
}

/** Locked, so that of two who go at once one is the last. */
async function administrators(db: Db): Promise<string[]> {
  const rows = await db.rows<{ name: string }>(
    sql`select name from users where role = 'administrator' order by name ${db.lock.rows}`,
  );
  return rows.map((row) => row.name);
}

function isLast(names: readonly string[], name: string): boolean {
  return names.length === 1 && names[0] === name;
}

async function lockPerson(db: Db, name: string): Promise<boolean> {
  const row = await firstRow(db, sql`select name from users where name = ${name} and role is not null ${db.lock.rows}`);
  return row !== undefined;
}
