import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';
import { stopClaims } from './stop-claims.ts';

/** Null: somebody of the CouchDB face alone. */
export type Role = 'administrator' | 'regular';

/** Somebody with a password. `fields` is JSON: what else their document holds. */
export interface UserRow {
  readonly name: string;
  /** Argon2id, see access/passwords.ts; null: nobody can log in with it. */
  readonly password_hash: string | null;
  readonly roles: string;
  readonly fields: string;
  readonly revision: number;
  readonly rev_hash: string;
  readonly role: Role | null;
  readonly created_at: number;
}

export async function findUser(db: Db, input: { name: string }): Promise<UserRow | null> {
  return (await firstRow<UserRow>(db, sql`select * from users where name = ${input.name}`)) ?? null;
}

export async function listUsers(db: Db): Promise<UserRow[]> {
  return db.rows<UserRow>(sql`select * from users order by name`);
}

export interface UserWrite {
  readonly name: string;
  readonly passwordHash: string | null;
  readonly roles: string;
  readonly fields: string;
  /** The revision that it follows; null: there is none; undefined: whatever stands there. */
  readonly revision?: { readonly number: number; readonly hash: string } | null;
  readonly hash: string;
}

/**
 * Returns the new revision's number, or null when another one stands there. The role is none of it: what comes through
 * the CouchDB face makes nobody more than they are. Another password ends the sessions that began with the old one.
 */
export async function putUser(db: Db, user: UserWrite): Promise<number | null> {
  const standing = await firstRow<UserRow>(db, sql`select * from users where name = ${user.name} ${db.lock.rows}`);
  const expected = user.revision;
  if (expected !== undefined) {
    const fits =
      expected === null ? !standing : standing?.revision === expected.number && standing.rev_hash === expected.hash;
    if (!fits) return null;
  }
  const number = (standing?.revision ?? 0) + 1;
  await db.run(sql`insert into users (name, password_hash, roles, fields, revision, rev_hash, created_at)
    values (${user.name}, ${user.passwordHash}, ${user.roles}, ${user.fields}, ${number}, ${user.hash}, ${db.now})
    on conflict (name) do update set password_hash = excluded.password_hash, roles = excluded.roles, fields = excluded.fields,
      revision = excluded.revision, rev_hash = excluded.rev_hash`);
  if (standing && standing.password_hash !== user.passwordHash) await endSessions(db, user.name, null);
  return number;
}

/** Of the CouchDB face alone: who has a role goes by `removePerson`. */
export async function removeUser(db: Db, input: { name: string }): Promise<boolean> {
  return (await db.run(sql`delete from users where name = ${input.name} and role is null`)) > 0;
}

/** All sessions of a user but one. Returns how many ended. */
export async function endSessions(db: Db, name: string, kept: number | null): Promise<number> {
  const ended = await db.rows<{ id: number }>(sql`update tokens set revoked_at = ${db.now}
    where user_name = ${name} and kind = 'session' and revoked_at is null and expires_at > ${db.now} and id <> ${kept ?? 0} returning id`);
  await stopClaims(
    db,
    ended.map(({ id }) => id),
  );
  return ended.length;
}
