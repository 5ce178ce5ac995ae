import { type Db, firstRow } from '../db.ts';
import { type Sql, sql } from '../sql.ts';
import { awaitHolds, isAllHeld, notExported } from './holds.ts';
import { keptBy, type Quota, quotasOf } from './quotas.ts';

/**
 * Which bytes a project has. A blob lives as long as something refers to it (a submission, a checkpoint, a document, a
 * service's job, a tree that lists it) or somebody was told lately that it is there; then its row goes, and its bytes when no project has it:
 *
 *   there ──markRemoval──▶ marked (its row is gone, nobody may add it) ──bytes are removed──▶ finishRemoval ──▶ unknown
 */
export type AddResult = 'added' | 'being-removed' | { readonly overQuota: Quota };

/** The bytes are in the store. All are added or none. `graceMs`: so long they stay without a reference. */
export async function addBlobs(
  db: Db,
  input: { projectId: number; blobs: readonly { digest: string; size: number }[]; graceMs: number },
): Promise<AddResult> {
  const { projectId, blobs } = input;
  const given = db.table({
    m_digest: ['text', blobs.map((blob) => blob.digest)],
    m_size: ['bigint', blobs.map((blob) => blob.size)],
  });
  await lockDigests(db, given);
  const digests = sql`(select m_digest from ${given} as given)`;
  if (await firstRow(db, sql`select 1 as one from blob_removals where digest in ${digests} limit 1`))
    return 'being-removed';
  const until = db.now + input.graceMs;
  const held = await db.rows<{ digest: string }>(sql`update blobs
    set held_until = case when held_until < ${until} then ${until} else held_until end, gone = 0
    where project_id = ${projectId} and digest in ${digests} returning digest`);
  const known = new Set(held.map((row) => row.digest));
  const added = blobs.filter((blob) => !known.has(blob.digest));
  if (added.length === 0) return 'added';
  const bytes = added.reduce((sum, blob) => sum + blob.size, 0);
  await db.run(
    sql`insert into project_usage (project_id, blobs, bytes) values (${projectId}, 0, 0) on conflict (project_id) do nothing`,
  );
  const [tightest] = await quotasOf(db, projectId, db.lock.rows);
  if (tightest && tightest.bytes + bytes > tightest.quotaBytes) return { overQuota: tightest };
  await db.run(sql`insert into blobs (project_id, digest, size, created_at, held_until)
    select cast(${projectId} as bigint), m_digest, m_size, cast(${db.now} as bigint), cast(${until} as bigint) from ${given} as given where true
    on conflict (project_id, digest) do nothing`);
  await db.run(
    sql`update project_usage set blobs = blobs + ${added.length}, bytes = bytes + ${bytes} where project_id = ${projectId}`,
  );
  return 'added';
}

/** Nobody adds a blob while it is decided whether it goes. In one order, so that two servers wait for each other in turn. */
async function lockDigests(db: Db, given: Sql): Promise<void> {
  if (db.dialect === 'postgres')
    await db.rows(
      sql`select pg_advisory_xact_lock(hashtextextended(m_digest, 11)) from (select m_digest from ${given} as given order by 1) as ordered`,
    );
}

export async function findBlob(db: Db, input: { projectId: number; digest: string }): Promise<{ size: number } | null> {
  return (
    (await firstRow<{ size: number }>(
      db,
      sql`select size from blobs where project_id = ${input.projectId} and digest = ${input.digest}`,
    )) ?? null
  );
}

/** How large these are, of those that the project has. */
export async function blobSizes(
  db: Db,
  input: { projectId: number; digests: readonly string[] },
): Promise<{ digest: string; size: number }[]> {
  if (input.digests.length === 0) return [];
  const given = db.table({ m_digest: ['text', [...new Set(input.digests)]] });
  return db.rows(sql`select digest, size from blobs where project_id = ${input.projectId}
    and digest in (select m_digest from ${given} as given)`);
}

/** The store does not have the bytes: from now on they are lacking, and whoever brings them puts them back. */
export async function noteGone(db: Db, input: { digest: string }): Promise<void> {
  await db.run(sql`update blobs set gone = 1 where digest = ${input.digest} and gone = 0`);
}

/** What the project lacks. What it has stays for `graceMs` at least, because somebody is told so now. */
export async function missingBlobs(
  db: Db,
  input: { projectId: number; digests: readonly string[]; graceMs: number },
): Promise<string[]> {
  if (input.digests.length === 0) return [];
  const digests = [...new Set(input.digests)].sort();
  const given = db.table({ m_digest: ['text', digests] });
  const enough = db.now + input.graceMs / 2;
  const held = await db.rows<{ digest: string }>(sql`update blobs set held_until = ${db.now + input.graceMs}
    where project_id = ${input.projectId} and gone = 0 and held_until < ${enough} and digest in (select m_digest from ${given} as given) returning digest`);
  const there = await db.rows<{ digest: string }>(sql`select digest from blobs
    where project_id = ${input.projectId} and gone = 0 and held_until >= ${enough} and digest in (select m_digest from ${given} as given)`);
  const known = new Set([...held, ...there].map((row) => row.digest));
  return digests.filter((digest) => !known.has(digest));
}

/** Those of the digests that are known as trees, with all that they list. */
export async function knownTrees(db: Db, input: { projectId: number; digests: readonly string[] }): Promise<string[]> {
  if (input.digests.length === 0) return [];
  const given = db.table({ m_digest: ['text', input.digests] });
  const rows = await db.rows<{ digest: string }>(
    sql`select digest from trees where project_id = ${input.projectId} and digest in (select m_digest from ${given} as given)`,
  );
  return rows.map((row) => row.digest);
}

/** From here on what a tree lists stays as long as the tree. */
export async function addTree(
  db: Db,
  input: { projectId: number; digest: string; children: readonly string[] },
): Promise<void> {
  const { projectId, digest } = input;
  const children = [...new Set(input.children)].sort();
  if (children.length > 0) {
    const given = db.table({ m_child: ['text', children] });
    await db.run(sql`insert into tree_entries (project_id, parent, child)
      select cast(${projectId} as bigint), cast(${digest} as text), m_child from ${given} as given where true on conflict do nothing`);
  }
  await db.run(sql`insert into trees (project_id, digest) values (${projectId}, ${digest}) on conflict do nothing`);
}

const UNREFERENCED = sql`not exists (select 1 from blob_uses u where u.project_id = b.project_id and u.digest = b.digest)
  and not exists (select 1 from tree_entries t where t.project_id = b.project_id and t.child = b.digest)
  and not exists (select 1 from checkpoint_blobs c where c.project_id = b.project_id and c.digest = b.digest)
  and not exists (select 1 from document_blobs d where d.project_id = b.project_id and d.digest = b.digest)
  and not exists (select 1 from job_blobs j where j.project_id = b.project_id and j.digest = b.digest)
  and not exists (select 1 from holds h where h.project_id = b.project_id and h.kind = 'import')`;

export interface BlobKey {
  readonly projectId: number;
  readonly digest: string;
}

/** Walks over all blobs, some at a time; `next` null: that was the last of them. */
export async function removableBlobs(
  db: Db,
  input: { after: BlobKey | null; limit: number; graceMs: number },
): Promise<{ digests: readonly string[]; next: BlobKey | null }> {
  const from = input.after ?? { projectId: 0, digest: '' };
  const rows = await db.rows<{ project_id: number; digest: string; free: number }>(
    sql`select b.project_id, b.digest, case when ${await heldNoLonger(db, input.graceMs)} and ${UNREFERENCED} then 1 else 0 end as free
    from blobs b where (b.project_id, b.digest) > (${from.projectId}, ${from.digest}) order by b.project_id, b.digest limit ${input.limit}`,
  );
  const last = rows.at(-1);
  return {
    digests: rows.filter((row) => row.free === 1).map((row) => row.digest),
    next: rows.length === input.limit && last ? { projectId: last.project_id, digest: last.digest } : null,
  };
}

/**
 * What was told or added since the oldest attempt was claimed that runs, or was given up for lost and not claimed again,
 * may be an output of it that is not reported yet, however long its worker was away. Not so what was brought for a
 * checkpoint, or what a submission referred to that was forgotten: that has come and gone.
 */
async function heldNoLonger(db: Db, graceMs: number): Promise<Sql> {
  if (await isAllHeld(db)) return sql`1 = 0`;
  const oldest = await firstRow<{ at: number | null }>(
    db,
    sql`select min(claimed_at) as at from (
      select min(claimed_at) as claimed_at from tasks where state = 'running'
      union all select min(claimed_at) from tasks where state = 'queued' and attempt_state = 'open'
    ) as both_kinds`,
  );
  const at = oldest?.at ?? null;
  // Who is told that a blob is there finds it held for half of the grace time at least (see `missingBlobs`).
  const before = at === null ? db.now : Math.min(db.now, at + graceMs / 2);
  return sql`(b.held_until < ${before} or (b.held_until < ${db.now} and b.checkpointed_at >= b.held_until - ${graceMs}))
    and ${notExported(db)}`;
}

/**
 * Forgets a blob in every project where nothing needs it. `bytes`: no project has it any more; it is marked, and its
 * bytes are to be removed, then `finishRemoval`.
 */
export async function markRemoval(
  db: Db,
  input: { digest: string; server: string; graceMs: number },
): Promise<'kept' | 'forgotten' | 'bytes'> {
  const { digest } = input;
  await awaitHolds(db);
  await lockDigests(db, db.table({ m_digest: ['text', [digest]] }));
  const gone = await db.rows<{ project_id: number; size: number }>(
    sql`delete from blobs as b where b.digest = ${digest} and ${await heldNoLonger(db, input.graceMs)} and ${UNREFERENCED}
    returning project_id, size`,
  );
  for (const { project_id: projectId, size } of gone) {
    await db.run(sql`delete from trees where project_id = ${projectId} and digest = ${digest}`);
    await db.run(sql`delete from tree_entries where project_id = ${projectId} and parent = ${digest}`);
    await db.run(
      sql`update project_usage set blobs = blobs - 1, bytes = bytes - ${size} where project_id = ${projectId}`,
    );
  }
  if (gone.length === 0) return 'kept';
  if (await firstRow(db, sql`select 1 as one from blobs where digest = ${digest} limit 1`)) return 'forgotten';
  await db.run(sql`insert into blob_removals (digest, server_id, since) values (${digest}, ${input.server}, ${db.now})
    on conflict (digest) do update set server_id = excluded.server_id, since = excluded.since`);
  return 'bytes';
}

export async function finishRemoval(db: Db, input: { digest: string; server: string }): Promise<void> {
  await db.run(sql`delete from blob_removals where digest = ${input.digest} and server_id = ${input.server}`);
}

/** Takes over removals of servers that are gone, killed between the mark and the end. */
export async function takeOverRemovals(
  db: Db,
  input: { server: string; aliveWithinMs: number },
): Promise<readonly string[]> {
  const alive = sql`select id from servers where alive_at >= ${db.now - input.aliveWithinMs} and id <> ${input.server}`;
  const rows = await db.rows<{
    digest: string;
  }>(sql`update blob_removals set server_id = ${input.server}, since = ${db.now}
    where server_id not in (${alive}) returning digest`);
  return rows.map((row) => row.digest);
}

export interface UsageRow {
  readonly blobs: number;
  readonly bytes: number;
  readonly unreferencedBlobs: number;
  readonly unreferencedBytes: number;
  readonly quotaBytes: number | null;
}

/** What a project keeps. Only this looks at each of its blobs. */
export async function projectUsage(db: Db, input: { projectId: number }): Promise<UsageRow> {
  const free = await firstRow<{ n: number; bytes: number | null }>(
    db,
    sql`select count(*) as n, sum(b.size) as bytes from blobs b where b.project_id = ${input.projectId} and ${UNREFERENCED}`,
  );
  const usage = await keptBy(db, input.projectId);
  return { ...usage, unreferencedBlobs: Number(free?.n ?? 0), unreferencedBytes: Number(free?.bytes ?? 0) };
}
