import { countsOf, recordDeltas } from '../counts.ts';
import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';

export type ForgetResult = 'forgotten' | 'unfinished' | 'borrowed' | 'unknown' | { readonly neededBy: number };

/**
 * A finished submission goes for good. It is out of sight at once, like one that was never completed; its rows go in
 * chunks after that (`removeChunk`), and its files when nothing else refers to them.
 */
export async function forgetSubmission(db: Db, input: { id: number }): Promise<ForgetResult> {
  const { id } = input;
  const row = await firstRow<{ project_id: number; gate: string; ending: string | null }>(
    db,
    sql`select project_id, gate, ending from submissions where id = ${id} ${db.lock.rows}`,
  );
  if (!row || row.gate === 'loading') return 'unknown';
  const counts = (await countsOf(db, [id])).get(id);
  if (!counts || row.ending !== null || counts.waiting + counts.queued + counts.running > 0) return 'unfinished';
  // Its home has not heard yet how it ended, and would wait for that for ever.
  if (await firstRow(db, sql`select 1 as one from borrowed where submission_id = ${id} limit 1`)) return 'borrowed';
  const dependent = await unfinishedDependent(db, id);
  if (dependent !== undefined) return { neededBy: dependent };
  await db.run(
    sql`update submissions set gate = 'loading', request_id = null, claimable = 0, waiting_since = 0, question = null where id = ${id}`,
  );
  await db.run(
    sql`update jobs set state = 'EXPIRED', submission_id = null, finished_at = coalesce(finished_at, ${db.now}) where submission_id = ${id}`,
  );
  await recordDeltas(
    db,
    (Object.keys(counts) as (keyof typeof counts)[]).map((state) => ({
      projectId: row.project_id,
      submissionId: id,
      state,
      n: -counts[state],
    })),
  );
  return 'forgotten';
}

async function unfinishedDependent(db: Db, id: number): Promise<number | undefined> {
  const dependents = await db.rows<{ id: number; loading: number }>(
    sql`select distinct s.id, case when s.gate = 'loading' then 1 else 0 end as loading
    from dependencies d join submissions s on s.id = d.submission_id
    where d.on_submission = ${id} and (s.gate <> 'loading' or s.request_id is not null) order by s.id`,
  );
  for (const { id: dependent, loading } of dependents) {
    // Not complete yet: it would wait for what is gone.
    if (loading === 1) return dependent;
    const counts = (await countsOf(db, [dependent])).get(dependent);
    if (counts && counts.waiting + counts.queued + counts.running > 0) return dependent;
  }
  return undefined;
}

/** Rows that go in one transaction. */
const CHUNK = 10_000;

/**
 * Removes a part of a submission that nobody sees: one that was never completed because its client is gone, or one that
 * was forgotten. Returns how many submissions there were; 0: nothing is left to do.
 */
export async function removeChunk(db: Db, input: { olderThanMs: number }): Promise<number> {
  const stale = await firstRow<{ id: number; request_id: string | null }>(
    db,
    // As in releaseDue: the index is of those that are not open.
    sql`select id, request_id from submissions where gate = 'loading' and gate <> 'open' and waiting_since < ${db.now - input.olderThanMs} limit 1`,
  );
  if (!stale) return 0;
  const { id, request_id: request } = stale;
  // The whole request is forgotten first, so that nobody completes it, or adds to it, while it goes in chunks.
  if (request !== null)
    await db.run(sql`update submissions set request_id = null where request_id = ${request} and gate = 'loading'`);
  await markDocuments(db, id);
  const removed = await db.run(
    sql`delete from tasks where submission_id = ${id} and idx in (select idx from tasks where submission_id = ${id} limit ${CHUNK})`,
  );
  if (removed > 0) return 1;
  for (const table of [sql`attempts`, sql`logs`, sql`late_reports`, sql`checkpoints`, sql`checkpoint_blobs`]) {
    const gone = await db.run(
      sql`delete from ${table} where submission_id = ${id} and idx in (select idx from ${table} where submission_id = ${id} limit ${CHUNK})`,
    );
    if (gone > 0) return 1;
  }
  await letGo(db, id);
  await db.run(sql`delete from blob_uses where submission_id = ${id}`);
  // What others waited for in vain stays on record: when they are retried they cannot be let go.
  await db.run(sql`delete from dependencies where submission_id = ${id} or (on_submission = ${id} and done = 1)`);
  // Differences that are not added up yet belong to the project's sums too.
  if (await firstRow(db, sql`select 1 as one from count_deltas where submission_id = ${id} limit 1`)) return 0;
  await db.run(
    sql`delete from state_counts where submission_id = ${id} and project_id = (select project_id from submissions where id = ${id})`,
  );
  await db.run(sql`delete from submissions where id = ${id} and gate = 'loading'`);
  return 1;
}

/** Those who follow the documents of a project are told that these are gone. */
async function markDocuments(db: Db, id: number): Promise<void> {
  const chunk = sql`(select idx from tasks where submission_id = ${id} limit ${CHUNK})`;
  await db.run(sql`delete from document_blobs where (project_id, document_id) in
    (select project_id, id from documents where submission_id = ${id} and idx in ${chunk})`);
  await db.run(sql`insert into documents (project_id, id, revision, rev_hash, deleted, body, sequence)
    select s.project_id, 'pilotage:' || t.submission_id || '.' || t.idx, t.revision + 1, '0', 1, '{}', ${db.nextSequence}
    from tasks t join submissions s on s.id = t.submission_id join projects p on p.id = s.project_id
    where t.submission_id = ${id} and t.idx in ${chunk} and p.followed = 1
      and not exists (select 1 from documents d where d.submission_id = t.submission_id and d.idx = t.idx)
    on conflict (project_id, id) do nothing`);
  await db.run(sql`update documents set deleted = 1, revision = revision + 1 + coalesce((select t.revision from tasks t
      where t.submission_id = documents.submission_id and t.idx = documents.idx), task_revision) - task_revision, rev_hash = '0', task_revision = 0,
    body = '{}', attachments = null, lock_until = null, claims = null, submission_id = null, idx = null, sequence = ${db.nextSequence}
    where submission_id = ${id} and idx in ${chunk}`);
}

/** Somebody may just have been told that a file is there, and be about to name it. */
const LET_GO_MS = 60_000;

/** What it referred to has come and gone: it need not wait for attempts that run longer (see `heldNoLonger`). */
async function letGo(db: Db, id: number): Promise<void> {
  const used = sql`select u.project_id, u.digest from blob_uses u where u.submission_id = ${id}`;
  const listed = sql`select e.project_id, e.child from tree_entries e join blob_uses u on u.project_id = e.project_id and u.digest = e.parent
    where u.submission_id = ${id}`;
  const soon = db.now + LET_GO_MS;
  await db.run(sql`update blobs set checkpointed_at = ${db.now}, held_until = case when held_until > ${soon} then ${soon} else held_until end
    where (project_id, digest) in (${used}) or (project_id, digest) in (${listed})`);
}
