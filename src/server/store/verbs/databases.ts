import { MONITOR_DESIGN, MONITOR_ID } from '../../core/monitor-design.ts';
import type { Db } from '../db.ts';
import { md5 } from '../document-rows.ts';
import { sql } from '../sql.ts';

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
  input: { projectId: number; maxLockMs?: number | null; maxScrubs?: number | null },
): Promise<void> {
  if (input.maxLockMs !== undefined)
    await db.run(sql`update projects set max_lock_ms = ${input.maxLockMs} where id = ${input.projectId}`);
  if (input.maxScrubs !== undefined)
    await db.run(sql`update projects set max_scrubs = ${input.maxScrubs} where id = ${input.projectId}`);
}

/** Its own name is free for another one. */
export async function renameProject(db: Db, input: { projectId: number; name: string }): Promise<void> {
  await db.run(sql`update projects set name = ${input.name} where id = ${input.projectId}`);
}
