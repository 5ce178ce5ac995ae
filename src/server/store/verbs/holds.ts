import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';

/**
 * A backup, an export or an import under way. As long as there is a backup or an export no file is removed: what its
 * snapshot refers to is still to be copied. Of an import the files that it brought stay. A hold ends by itself unless it
 * is renewed, so that a client or server that died in the middle holds nothing for ever.
 */
export type HoldKind = 'backup' | 'export' | 'import';

export interface HoldRow {
  readonly id: string;
  readonly kind: HoldKind;
  readonly project_id: number | null;
  readonly who: string;
  readonly leftMs: number;
}

/** When it resolves, no file goes that anybody sees in a snapshot taken from now on. */
export async function beginHold(
  db: Db,
  input: { id: string; kind: HoldKind; projectId: number | null; who: string; forMs: number },
): Promise<void> {
  if (db.dialect === 'postgres') await db.rows(sql`select pg_advisory_xact_lock(7303)`);
  await db.run(sql`delete from holds where held_until < ${db.now} and kind <> 'import'`);
  await db.run(sql`insert into holds (id, kind, project_id, who, since, held_until)
    values (${input.id}, ${input.kind}, ${input.projectId}, ${input.who}, ${db.now}, ${db.now + input.forMs})`);
}

/** False: it ran out, and files may have gone since. */
export async function renewHold(db: Db, input: { id: string; forMs: number }): Promise<boolean> {
  const until = db.now + input.forMs;
  return (
    (await db.run(sql`update holds set held_until = ${until} where id = ${input.id} and held_until >= ${db.now}`)) > 0
  );
}

/** Idempotent. */
export async function endHold(db: Db, input: { id: string }): Promise<void> {
  await db.run(sql`delete from holds where id = ${input.id}`);
}

/** Null when there is none, or it ran out. */
export async function findHold(db: Db, input: { id: string }): Promise<HoldRow | null> {
  const row = await firstRow<Omit<HoldRow, 'leftMs'> & { held_until: number }>(
    db,
    sql`select id, kind, project_id, who, held_until from holds where id = ${input.id} and held_until >= ${db.now}`,
  );
  if (!row) return null;
  const { held_until: until, ...rest } = row;
  return { ...rest, leftMs: until - db.now };
}

export async function isAnyHeld(db: Db): Promise<boolean> {
  return (
    (await firstRow(db, sql`select 1 as one from holds where held_until >= ${db.now} and kind <> 'import' limit 1`)) !==
    undefined
  );
}

/** For who removes: a hold that is just being begun is seen by the statements that follow, or it waits for this transaction. */
export async function awaitHolds(db: Db): Promise<void> {
  if (db.dialect === 'postgres') await db.rows(sql`select pg_advisory_xact_lock_shared(7303)`);
}
