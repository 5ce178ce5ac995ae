import { type Db, firstRow } from '../db.ts';
import { type Sql, sql } from '../sql.ts';

/**
 * A backup, an export or an import under way. As long as there is a backup no file is removed, as long as there is an
 * export none of its project: what its snapshot refers to is still to be copied. Of an import the files that it brought
 * stay. A hold ends by itself unless it is renewed, so that a client or server that died in the middle holds nothing for
 * ever; that of an export, which is anybody's, ends also when it is renewed again and again.
 */
export type HoldKind = 'backup' | 'export' | 'import';

export interface HoldRow {
  readonly id: string;
  readonly kind: HoldKind;
  readonly project_id: number | null;
  readonly who: string;
  readonly leftMs: number;
}

/**
 * When it resolves, no file goes that anybody sees in a snapshot taken from now on: none at all, or none of the project.
 * False: whoever it is for has `most` of that kind already.
 */
export async function beginHold(
  db: Db,
  input: { id: string; kind: HoldKind; projectId: number | null; who: string; forMs: number; most?: number },
): Promise<boolean> {
  if (db.dialect === 'postgres') await db.rows(sql`select pg_advisory_xact_lock(7303)`);
  await db.run(sql`delete from holds where held_until < ${db.now} and kind <> 'import'`);
  if (input.most !== undefined && (await countHolds(db, input)) >= input.most) return false;
  await db.run(sql`insert into holds (id, kind, project_id, who, since, held_until)
    values (${input.id}, ${input.kind}, ${input.projectId}, ${input.who}, ${db.now}, ${db.now + input.forMs})`);
  return true;
}

async function countHolds(db: Db, { who, kind }: { who: string; kind: HoldKind }): Promise<number> {
  const row = await firstRow<{ n: number }>(
    db,
    sql`select count(*) as n from holds where who = ${who} and kind = ${kind} and held_until >= ${db.now}`,
  );
  return Number(row?.n ?? 0);
}

/** An export is held for `longestMs` in all. False: it ran out, and files may have gone since. */
export async function renewHold(db: Db, input: { id: string; forMs: number; longestMs: number }): Promise<boolean> {
  const until = db.now + input.forMs;
  const renewed = await db.run(sql`update holds
    set held_until = case when kind = 'export' and since + ${input.longestMs} < ${until} then since + ${input.longestMs} else ${until} end
    where id = ${input.id} and held_until >= ${db.now}`);
  return renewed > 0;
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

/** Everything is: there is a backup under way. */
export async function isAllHeld(db: Db): Promise<boolean> {
  const backup = sql`select 1 as one from holds where held_until >= ${db.now} and kind = 'backup' limit 1`;
  return (await firstRow(db, backup)) !== undefined;
}

/** Of a blob `b`: its project is not being exported. */
export function notExported(db: Db): Sql {
  return sql`not exists (select 1 from holds h where h.project_id = b.project_id and h.kind = 'export' and h.held_until >= ${db.now})`;
}

/** For who removes: a hold that is just being begun is seen by the statements that follow, or it waits for this transaction. */
export async function awaitHolds(db: Db): Promise<void> {
  if (db.dialect === 'postgres') await db.rows(sql`select pg_advisory_xact_lock_shared(7303)`);
}
