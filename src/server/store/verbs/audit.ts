import type { Db } from '../db.ts';
import { joinSql, sql } from '../sql.ts';

/** One thing that somebody did, or was refused. */
export interface AuditEntry {
  readonly who: string;
  /** By what they were known: `session 12`, `token 3`, `admin token`, `CouchDB`, … */
  readonly how: string;
  readonly address: string | null;
  readonly action: string;
  readonly subject: string;
  /** JSON, without secrets. */
  readonly detail: string;
  readonly outcome: 'done' | 'refused';
  /** So often; once unless given. */
  readonly times?: number;
}

export interface AuditRow extends Required<AuditEntry> {
  readonly id: number;
  readonly at: number;
}

export async function writeAudit(db: Db, input: { entries: readonly AuditEntry[] }): Promise<void> {
  for (const entry of input.entries) await keepAudit(db, entry);
}

/** For verbs that write down what they change, with the change. */
export async function keepAudit(db: Db, entry: AuditEntry | undefined): Promise<void> {
  if (!entry) return;
  await db.run(sql`insert into audit (at, who, how, address, action, subject, detail, outcome, times)
    values (${db.now}, ${entry.who}, ${entry.how}, ${entry.address}, ${entry.action}, ${entry.subject}, ${entry.detail},
      ${entry.outcome}, ${entry.times ?? 1})`);
}

export interface AuditFilter {
  readonly who: string | null;
  /** `user` is every action that begins with `user.`. */
  readonly action: string | null;
  readonly since: number | null;
  readonly until: number | null;
  /** Only what was written before this one. */
  readonly before: number | null;
  readonly limit: number;
}

/** Newest first. */
export async function listAudit(db: Db, filter: AuditFilter): Promise<AuditRow[]> {
  const { who, action, since, until, before } = filter;
  const conditions = [
    ...(who === null ? [] : [sql`who = ${who}`]),
    ...(action === null
      ? []
      : [sql`(action = ${action} or substr(action, 1, ${action.length + 1}) = ${`${action}.`})`]),
    ...(since === null ? [] : [sql`at >= ${since}`]),
    ...(until === null ? [] : [sql`at < ${until}`]),
    ...(before === null ? [] : [sql`id < ${before}`]),
  ];
  const where = conditions.length === 0 ? sql`` : sql`where ${joinSql(conditions, sql` and `)}`;
  return db.rows<AuditRow>(sql`select * from audit ${where} order by id desc limit ${filter.limit}`);
}

/** A chunk of what is older than it is kept for. Returns how many went. */
export async function forgetAudit(db: Db, input: { olderThanMs: number; limit: number }): Promise<number> {
  return db.run(
    sql`delete from audit where id in (select id from audit where at < ${db.now - input.olderThanMs} order by at limit ${input.limit})`,
  );
}
