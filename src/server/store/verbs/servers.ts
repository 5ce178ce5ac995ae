import { type LeaseSettings, outageExtension } from '../../core/lease.ts';
import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';

export interface ServerIdentity {
  readonly id: string;
  readonly host: string;
  readonly pid: number;
  /** Public, of the key that signs tickets. */
  readonly ticketKey: string;
}

/**
 * A server starts. If no server was alive in the meantime, leases that were valid then are extended by the outage and
 * one interval, once: live workers come back within it, dead ones expire.
 */
export async function startServer(
  db: Db,
  input: ServerIdentity & { readonly lease: LeaseSettings; readonly aliveWithinMs: number },
): Promise<{ extendedMs: number }> {
  if (db.dialect === 'postgres') await db.rows(sql`select pg_advisory_xact_lock(7301)`);
  const row = await firstRow<{ alive_at: number | null }>(db, sql`select max(alive_at) as alive_at from servers`);
  const lastAlive = row?.alive_at ?? null;
  const someAlive = db.dialect === 'postgres' && lastAlive !== null && db.now - lastAlive < input.aliveWithinMs;
  const extendedMs = someAlive ? 0 : outageExtension(lastAlive, db.now, input.lease);
  if (extendedMs > 0 && lastAlive !== null) {
    await db.run(
      sql`update workers set lease_until = lease_until + ${extendedMs} where state = 'alive' and lease_until >= ${lastAlive}`,
    );
    await db.run(
      sql`update documents set lock_until = lock_until + ${extendedMs} where lock_until is not null and lock_until >= ${lastAlive}`,
    );
  }
  await db.run(sql`delete from servers where alive_at < ${db.now - 86_400_000} and id <> ${input.id}`);
  await db.run(
    sql`insert into servers (id, host, pid, started_at, alive_at, ticket_key) values (${input.id}, ${input.host}, ${input.pid}, ${db.now}, ${db.now}, ${input.ticketKey})`,
  );
  return { extendedMs };
}

export async function beatServer(db: Db, input: { id: string }): Promise<void> {
  await db.run(sql`update servers set alive_at = ${db.now} where id = ${input.id}`);
}

/** A fact that all servers of one database share: the first one to say it decides, unless `isNew`. Returns what holds. */
export async function agreeOn(db: Db, input: { name: string; value: string; isNew: boolean }): Promise<string> {
  const { name, value } = input;
  const onConflict = input.isNew ? sql`do update set value = excluded.value` : sql`do nothing`;
  await db.run(sql`insert into installation (name, value) values (${name}, ${value}) on conflict (name) ${onConflict}`);
  const row = await firstRow<{ value: string }>(db, sql`select value from installation where name = ${name}`);
  return row?.value ?? value;
}
