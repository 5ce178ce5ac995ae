/** How much may be kept: in a project, and in all projects of one owner together. */
import { type Db, firstRow } from '../db.ts';
import { type Sql, sql } from '../sql.ts';

export interface Quota {
  readonly quotaBytes: number;
  readonly bytes: number;
  /** Whose projects together, where it is not the project's own. */
  readonly user?: string;
}

export interface Kept {
  readonly quotaBytes: number | null;
  readonly bytes: number;
  readonly blobs: number;
}

/** What a project keeps, and how much it may. */
export async function keptBy(db: Db, projectId: number, lock: Sql = sql``): Promise<Kept> {
  const usage = await firstRow<{ bytes: number; blobs: number }>(
    db,
    sql`select bytes, blobs from project_usage where project_id = ${projectId} ${lock}`,
  );
  const project = await firstRow<{ quota_bytes: number | null }>(
    db,
    sql`select quota_bytes from projects where id = ${projectId}`,
  );
  return { quotaBytes: project?.quota_bytes ?? null, bytes: usage?.bytes ?? 0, blobs: usage?.blobs ?? 0 };
}

/** All that a project is under, the one with the least room first. With a lock nobody adds to any of them meanwhile. */
export async function quotasOf(db: Db, projectId: number, lock: Sql = sql``): Promise<Quota[]> {
  const { quotaBytes, bytes } = await keptBy(db, projectId, lock);
  const own = quotaBytes === null ? [] : [{ quotaBytes, bytes }];
  return [...own, ...(await quotasOfOwner(db, projectId, lock))].sort((a, b) => roomIn(a) - roomIn(b));
}

function roomIn({ quotaBytes, bytes }: Quota): number {
  return quotaBytes - bytes;
}

async function quotasOfOwner(db: Db, projectId: number, lock: Sql): Promise<Quota[]> {
  const owner = await firstRow<{ name: string; storage_limit: number }>(
    db,
    sql`select name, storage_limit from owners where storage_limit is not null
      and name = (select owner from projects where id = ${projectId} and peer_id is null) ${lock}`,
  );
  if (!owner) return [];
  return [{ quotaBytes: owner.storage_limit, bytes: await storedBy(db, owner.name), user: owner.name }];
}

async function storedBy(db: Db, owner: string): Promise<number> {
  const row = await firstRow<{ bytes: number | null }>(
    db,
    sql`select sum(u.bytes) as bytes from project_usage u join projects p on p.id = u.project_id where p.owner = ${owner} and p.peer_id is null`,
  );
  return Number(row?.bytes ?? 0);
}

/** Null when there is none: the cheap question before an upload. */
export async function findQuota(db: Db, input: { projectId: number }): Promise<Quota | null> {
  return (await quotasOf(db, input.projectId))[0] ?? null;
}

export async function setQuota(db: Db, input: { projectId: number; bytes: number | null }): Promise<void> {
  await db.run(sql`update projects set quota_bytes = ${input.bytes} where id = ${input.projectId}`);
}
