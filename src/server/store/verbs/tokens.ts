import { type Db, firstRow } from '../db.ts';
import { passwordMark } from '../secrets.ts';
import { sql } from '../sql.ts';
import { type AuditEntry, keepAudit } from './audit.ts';
import { projectsOfUser } from './members.ts';
import { stopClaims } from './stop-claims.ts';
import type { Role } from './users.ts';

/** `session`: what a login makes; `admin`: that of a server's data directory. */
export type TokenKind = 'token' | 'session' | 'admin';

export interface TokenRow {
  readonly id: number;
  readonly name: string;
  readonly kind: TokenKind;
  /** Whose it is; null: nobody's, it stands for itself. */
  readonly user_name: string | null;
  /** JSON. */
  readonly scopes: string;
  /** JSON, or null: all projects. */
  readonly projects: string | null;
  readonly created_at: number;
  readonly expires_at: number | null;
  readonly revoked_at: number | null;
}

/** What its user may do now; `projects` null is all. */
export interface TokenUser {
  readonly role: Role;
  readonly projects: readonly string[] | null;
}

const HAND_BACK_MS = 120_000;
const COLUMNS = sql`id, name, kind, user_name, scopes, projects, created_at, expires_at, revoked_at`;

export interface NewToken {
  readonly name: string;
  readonly kind: TokenKind;
  readonly user: string | null;
  readonly hash: string;
  readonly scopes: string;
  readonly projects: string | null;
  readonly expiresInMs: number | null;
  /** SHA-256 of the password's hash that a login was let in by: it may have been changed meanwhile. */
  readonly passwordMark?: string;
  readonly audit?: AuditEntry;
}

/** Null: it was to be that of a user, and there is none of that name (any more), or not with that password. */
export async function createToken(db: Db, input: NewToken): Promise<TokenRow | null> {
  if (input.user !== null && !(await lockUser(db, input.user, input.passwordMark))) return null;
  const row = await firstRow<TokenRow>(
    db,
    sql`insert into tokens (name, kind, user_name, hash, scopes, projects, created_at, expires_at)
    values (${input.name}, ${input.kind}, ${input.user}, ${input.hash}, ${input.scopes}, ${input.projects}, ${db.now},
      ${input.expiresInMs === null ? null : db.now + input.expiresInMs})
    on conflict (hash) do update set revoked_at = null, kind = excluded.kind returning ${COLUMNS}`,
  );
  await keepAudit(db, input.audit);
  return row as TokenRow;
}

/** Who is being removed gets no new token meanwhile. */
async function lockUser(db: Db, name: string, mark: string | undefined): Promise<boolean> {
  const row = await firstRow<{ password_hash: string | null }>(
    db,
    sql`select password_hash from users where name = ${name} and role is not null ${db.lock.rows}`,
  );
  return row !== undefined && (mark === undefined || passwordMark(row.password_hash) === mark);
}

export type FoundToken = TokenRow & {
  readonly now: number;
  readonly hash: string;
  /** Null also where its user is no more. */
  readonly user: TokenUser | null;
};

/** By the hash of the token; with the database's time, to judge expiry by, and what its user may do now. */
export async function findToken(db: Db, input: { hash: string }): Promise<FoundToken | null> {
  const row = await firstRow<TokenRow & { hash: string; role: Role | null }>(
    db,
    sql`select ${COLUMNS}, hash, (select u.role from users u where u.name = tokens.user_name) as role from tokens where hash = ${input.hash}`,
  );
  if (!row) return null;
  const { role, ...token } = row;
  return { ...token, now: db.now, user: await userOf(db, token.user_name, role) };
}

async function userOf(db: Db, name: string | null, role: Role | null): Promise<TokenUser | null> {
  if (name === null || role === null) return null;
  return { role, projects: role === 'administrator' ? null : await projectsOfUser(db, name) };
}

/** Of one user, or all. Sessions that are over are left out. */
export async function listTokens(db: Db, input: { user: string | null }): Promise<TokenRow[]> {
  const own = input.user === null ? sql`` : sql`and user_name = ${input.user}`;
  return db.rows<TokenRow>(
    sql`select ${COLUMNS} from tokens where (kind <> 'session' or (revoked_at is null and expires_at > ${db.now})) ${own} order by id`,
  );
}

/** Null: there is none of that number, or (where `user` is given) it is another's. */
export async function revokeToken(
  db: Db,
  input: { id: number; user: string | null; audit?: AuditEntry },
): Promise<TokenRow | null> {
  const own = input.user === null ? sql`` : sql`and user_name = ${input.user}`;
  const row = await firstRow<TokenRow>(
    db,
    sql`update tokens set revoked_at = coalesce(revoked_at, ${db.now}) where id = ${input.id} ${own} returning ${COLUMNS}`,
  );
  if (!row) return null;
  // That of the data directory is taken up again at the next start, with its workers.
  if (row.kind !== 'admin') await stopClaims(db, [row.id]);
  await keepAudit(db, input.audit);
  return row;
}

/** A session is used: it goes on from now. */
export async function renewSession(db: Db, input: { id: number; expiresInMs: number }): Promise<void> {
  await db.run(
    sql`update tokens set expires_at = ${db.now + input.expiresInMs} where id = ${input.id} and kind = 'session' and revoked_at is null and expires_at > ${db.now}`,
  );
}

/** Sessions that were over so long ago. */
export async function forgetSessions(db: Db, input: { olderThanMs: number }): Promise<number> {
  const before = db.now - input.olderThanMs;
  return db.run(sql`delete from tokens where kind = 'session' and (expires_at < ${before} or revoked_at < ${before})`);
}

/**
 * A running attempt, by the hash of its secret: the credential of its program. That of a pilot lets it work, in the
 * projects of its plan (null: in all), and, when it was cancelled, hand back what it runs.
 */
export async function findAttemptCredential(
  db: Db,
  input: { submission: number; idx: number; attempt: number; secretHash: string },
): Promise<{
  project: string;
  owner: string;
  pilot: { projects: string[] | null } | null;
  isBorrowed: boolean;
} | null> {
  const row = await firstRow<{
    project: string;
    owner: string;
    secret_hash: string;
    pilot: number | null;
    spec: string;
    peer_id: string | null;
  }>(
    db,
    sql`select p.name as project, p.peer_id, s.owner, t.secret_hash, pi.submission_id as pilot,
      case when pi.submission_id is null then '{}' else s.spec end as spec from tasks t
    join submissions s on s.id = t.submission_id join projects p on p.id = s.project_id left join pilots pi on pi.submission_id = s.id
    where t.submission_id = ${input.submission} and t.idx = ${input.idx} and t.attempt = ${input.attempt}
      and (t.state = 'running' or (pi.submission_id is not null and t.state = 'cancelled' and t.finished_at > ${db.now - HAND_BACK_MS}))`,
  );
  if (row?.secret_hash !== input.secretHash) return null;
  const { project, owner, pilot } = row;
  const isBorrowed = row.peer_id !== null;
  if (pilot === null) return { project, owner, pilot: null, isBorrowed };
  const { site } = JSON.parse(row.spec) as { site?: { pilot?: { projects?: string[] } } };
  return { project, owner, pilot: { projects: site?.pilot?.projects ?? null }, isBorrowed };
}
