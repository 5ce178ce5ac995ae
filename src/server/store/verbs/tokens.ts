import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';

export interface TokenRow {
  readonly id: number;
  readonly name: string;
  /** JSON. */
  readonly scopes: string;
  /** JSON, or null: all projects. */
  readonly projects: string | null;
  readonly created_at: number;
  readonly expires_at: number | null;
  readonly revoked_at: number | null;
}

const HAND_BACK_MS = 120_000;
const COLUMNS = sql`id, name, scopes, projects, created_at, expires_at, revoked_at`;

export async function createToken(
  db: Db,
  input: { name: string; hash: string; scopes: string; projects: string | null; expiresInMs: number | null },
): Promise<TokenRow> {
  const row = await firstRow<TokenRow>(
    db,
    sql`insert into tokens (name, hash, scopes, projects, created_at, expires_at)
    values (${input.name}, ${input.hash}, ${input.scopes}, ${input.projects}, ${db.now}, ${input.expiresInMs === null ? null : db.now + input.expiresInMs})
    on conflict (hash) do update set revoked_at = null returning ${COLUMNS}`,
  );
  return row as TokenRow;
}

/** By the hash of the token; with the database's time, to judge expiry by. */
export async function findToken(
  db: Db,
  input: { hash: string },
): Promise<(TokenRow & { now: number; hash: string }) | null> {
  const row = await firstRow<TokenRow & { hash: string }>(
    db,
    sql`select ${COLUMNS}, hash from tokens where hash = ${input.hash}`,
  );
  return row ? { ...row, now: db.now } : null;
}

export async function listTokens(db: Db): Promise<TokenRow[]> {
  return db.rows<TokenRow>(sql`select ${COLUMNS} from tokens order by id`);
}

export async function revokeToken(db: Db, input: { id: number }): Promise<TokenRow | null> {
  const row = await firstRow<TokenRow>(
    db,
    sql`update tokens set revoked_at = coalesce(revoked_at, ${db.now}) where id = ${input.id} returning ${COLUMNS}`,
  );
  return row ?? null;
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
