import { MONITOR_DESIGN, MONITOR_ID } from '../../core/monitor-design.ts';
import { type Db, firstRow } from '../db.ts';
import { md5 } from '../document-rows.ts';
import { sql } from '../sql.ts';
import { renameInTokens } from './token-projects.ts';

/** The views that every pool has from the start; who deleted or changed them is not contradicted. */
export async function addMonitor(db: Db, input: { projectId: number }): Promise<void> {
  const body = JSON.stringify(MONITOR_DESIGN);
  await db.run(sql`insert into documents (project_id, id, revision, rev_hash, body, sequence)
    values (${input.projectId}, ${MONITOR_ID}, 1, ${md5(body)}, ${body}, ${db.nextSequence}) on conflict (project_id, id) do nothing`);
}

export async function setSecurity(db: Db, input: { projectId: number; security: string }): Promise<void> {
  await db.run(sql`update projects set security = ${input.security} where id = ${input.projectId}`);
}

/** Undefined: as it is. Null: as everywhere. */
export async function setTokenLimits(
  db: Db,
  input: { projectId: number; maxLockMs?: number | null; maxScrubs?: number | null; usualLockMs: number },
): Promise<void> {
  if (input.maxLockMs !== undefined) await setMaxLock(db, input.projectId, input.maxLockMs, input.usualLockMs);
  if (input.maxScrubs !== undefined)
    await db.run(sql`update projects set max_scrubs = ${input.maxScrubs} where id = ${input.projectId}`);
}

/** What is held now is held by the new rule, counted from the last sign of life. */
async function setMaxLock(db: Db, projectId: number, ms: number | null, usualMs: number): Promise<void> {
  const row = await firstRow<{ max_lock_ms: number | null }>(
    db,
    sql`select max_lock_ms from projects where id = ${projectId} ${db.lock.rows}`,
  );
  const longer = (ms ?? usualMs) - (row?.max_lock_ms ?? usualMs);
  await db.run(sql`update projects set max_lock_ms = ${ms} where id = ${projectId}`);
  if (longer === 0) return;
  await db.run(
    sql`update documents set lock_until = lock_until + ${longer} where project_id = ${projectId} and lock_until is not null`,
  );
  // The workers in whose name they are held outlive them all.
  if (longer > 0)
    await db.run(sql`update workers set lease_until = lease_until + ${longer}
      where session_id like 'couchdb-%' and projects = ${JSON.stringify([projectId])} and state = 'alive'`);
}

/** Its own name is free for another one; its tokens stay with it. */
export async function renameProject(db: Db, input: { projectId: number; name: string }): Promise<void> {
  const before = await firstRow<{ name: string }>(
    db,
    sql`select name from projects where id = ${input.projectId} ${db.lock.rows}`,
  );
  if (!before) return;
  await db.run(sql`update projects set name = ${input.name} where id = ${input.projectId}`);
  await renameInTokens(db, before.name, input.name);
}
