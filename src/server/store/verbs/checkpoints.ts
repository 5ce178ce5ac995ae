import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';

/** So many are kept of a task: when the newest one turns out to be useless, the one before it costs one interval. */
const KEPT = 2;

export interface NewCheckpoint {
  readonly submission: number;
  readonly idx: number;
  readonly attempt: number;
  readonly number: number;
  /** SHA-256 of the attempt's secret. */
  readonly secretHash: string;
  /** JSON. */
  readonly files: string;
  readonly digests: readonly string[];
}

/** Takes a checkpoint of an attempt, unless a newer attempt exists or this one is over: then nothing changes. */
export async function keepCheckpoint(db: Db, input: NewCheckpoint): Promise<'kept' | 'stale-attempt'> {
  const { submission, idx, attempt, number } = input;
  const of = db.dialect === 'postgres' ? sql`for update of t` : sql``;
  const task = await firstRow<{
    project_id: number;
    attempt: number;
    attempt_state: string;
    secret_hash: string | null;
  }>(
    db,
    sql`select s.project_id, t.attempt, t.attempt_state, t.secret_hash from tasks t join submissions s on s.id = t.submission_id
    where t.submission_id = ${submission} and t.idx = ${idx} ${of}`,
  );
  if (task?.attempt !== attempt || task.attempt_state !== 'open' || task.secret_hash !== input.secretHash)
    return 'stale-attempt';
  await db.run(sql`insert into checkpoints (submission_id, idx, attempt, number, created_at, files)
    values (${submission}, ${idx}, ${attempt}, ${number}, ${db.now}, ${input.files}) on conflict do nothing`);
  const given = db.table({ m_digest: ['text', [...new Set(input.digests)].sort()] });
  await db.run(sql`insert into checkpoint_blobs (project_id, digest, submission_id, idx, attempt, number)
    select cast(${task.project_id} as bigint), m_digest, cast(${submission} as bigint), cast(${idx} as bigint), cast(${attempt} as bigint), cast(${number} as bigint)
    from ${given} as given where true on conflict do nothing`);
  // Brought for this: it need not wait for the end of the attempt when it goes (see `heldNoLonger`).
  await db.run(sql`update blobs set checkpointed_at = ${db.now} where project_id = ${task.project_id} and (
    digest in (select m_digest from ${given} as given) or digest in (select e.child from tree_entries e
      where e.project_id = ${task.project_id} and e.parent in (select m_digest from ${given} as again)))`);
  await dropOlder(db, submission, idx);
  return 'kept';
}

async function dropOlder(db: Db, submission: number, idx: number): Promise<void> {
  const old = await firstRow<{ attempt: number; number: number }>(
    db,
    sql`select attempt, number from checkpoints where submission_id = ${submission} and idx = ${idx}
    order by attempt desc, number desc limit 1 offset ${KEPT}`,
  );
  if (!old) return;
  for (const table of [sql`checkpoints`, sql`checkpoint_blobs`])
    await db.run(sql`delete from ${table} where submission_id = ${submission} and idx = ${idx}
      and (attempt, number) <= (${old.attempt}, ${old.number})`);
}

export interface CheckpointRow {
  readonly submission_id: number;
  readonly idx: number;
  readonly attempt: number;
  readonly number: number;
  readonly created_at: number;
  readonly files: string;
  readonly suspect: number;
}

/** Newest first. */
export async function getCheckpoints(
  db: Db,
  input: { tasks: readonly { submission: number; idx: number }[] },
): Promise<CheckpointRow[]> {
  if (input.tasks.length === 0) return [];
  const given = db.table({
    m_submission: ['bigint', input.tasks.map((task) => task.submission)],
    m_idx: ['bigint', input.tasks.map((task) => task.idx)],
  });
  return db.rows<CheckpointRow>(sql`select * from checkpoints
    where (submission_id, idx) in (select m_submission, m_idx from ${given} as given) order by submission_id, idx, attempt desc, number desc`);
}

/** The task has its result: nobody begins from its checkpoints any more. */
export async function dropCheckpoints(db: Db, tasks: readonly { submission: number; idx: number }[]): Promise<void> {
  if (tasks.length === 0) return;
  const given = db.table({
    m_submission: ['bigint', tasks.map((task) => task.submission)],
    m_idx: ['bigint', tasks.map((task) => task.idx)],
  });
  for (const table of [sql`checkpoints`, sql`checkpoint_blobs`])
    await db.run(
      sql`delete from ${table} where (submission_id, idx) in (select m_submission, m_idx from ${given} as given)`,
    );
}

/** An attempt that began from a checkpoint failed and left no newer one: perhaps the checkpoint itself is the fault. */
export async function suspectCheckpoint(
  db: Db,
  used: { submission: number; idx: number; attempt: number; number: number },
): Promise<void> {
  await db.run(sql`update checkpoints set suspect = 1
    where submission_id = ${used.submission} and idx = ${used.idx} and attempt = ${used.attempt} and number = ${used.number}
    and not exists (select 1 from checkpoints n where n.submission_id = ${used.submission} and n.idx = ${used.idx}
      and (n.attempt, n.number) > (${used.attempt}, ${used.number}))`);
}
