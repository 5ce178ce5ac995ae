import type { Gate } from '../../core/submission.ts';
import { recordUses } from '../blob-uses.ts';
import { recordDeltas, touchSubmissions } from '../counts.ts';
import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';
import { EXTRAS } from '../task-rows.ts';

/** One step of a request as it is stored: texts are JSON. */
export interface NewSubmission {
  readonly name: string | null;
  readonly shapeKey: string;
  readonly spec: string;
  readonly priority: number;
  readonly notBefore: number | null;
  readonly after: readonly NewDependency[];
  readonly array: { readonly first: number; readonly last: number; readonly step: number } | null;
  readonly items: NewItems | null;
  /** Digests that the spec names. */
  readonly digests: readonly string[];
  /** What equal submissions have in common, if the question whether they are equal can be answered. */
  readonly question: string | null;
  readonly hasCheckpoint: boolean;
  readonly reuse: boolean;
  /** Outputs of other tasks that come as inputs; `step` is a place in this request. */
  readonly from: readonly ({ readonly step: number } | { readonly submission: number })[];
}

export type NewDependency = { readonly submission: number; readonly idx: number | null } | { readonly step: number };

/** Rows of tasks, column by column; `first` is the index of the first. */
export interface NewItems {
  readonly first: number;
  readonly payloads: readonly (string | null)[];
  readonly inputs: readonly (string | null)[];
  /** All digests that the items name. */
  readonly digests: readonly string[];
}

export interface SubmitInput {
  readonly projectId: number;
  readonly owner: string;
  readonly requestId: string;
  readonly open: boolean;
  readonly steps: readonly NewSubmission[];
}

export type SubmitResult =
  | { readonly ok: true; readonly ids: readonly number[]; readonly repeated: boolean }
  | { readonly ok: false; readonly missing: { readonly submission: number; readonly idx: number | null } };

/** All steps of one request, or none. A request that came before is answered with what it made then. */
export async function submit(db: Db, input: SubmitInput): Promise<SubmitResult> {
  await lockRequest(db, input.requestId);
  const before = await db.rows<{ id: number }>(
    sql`select id from submissions where request_id = ${input.requestId} order by step`,
  );
  if (before.length > 0) return { ok: true, ids: before.map((row) => row.id), repeated: true };
  const missing = await missingDependency(db, input);
  if (missing) return { ok: false, missing };
  const ids: number[] = [];
  for (const [step, submission] of input.steps.entries()) ids.push(await insertSubmission(db, input, submission, step));
  for (const [step, submission] of input.steps.entries()) await connect(db, ids, submission, ids[step] as number);
  if (!input.open) for (const id of ids) await openGate(db, id);
  return { ok: true, ids, repeated: false };
}

async function connect(db: Db, ids: readonly number[], submission: NewSubmission, id: number): Promise<void> {
  await insertDependencies(db, ids, submission, id);
  if (submission.from.length === 0) return;
  // The spec names steps of this request by their place; what was stored names submissions.
  const spec = JSON.parse(submission.spec) as { from: Record<string, unknown>[] };
  const from = spec.from.map(({ step: _step, ...one }, i) => {
    const on = submission.from[i];
    return on && 'step' in on ? { ...one, submission: ids[on.step] } : one;
  });
  await db.run(sql`update submissions set spec = ${JSON.stringify({ ...spec, from })} where id = ${id}`);
}

/** Two servers may get the same request at once (a repeated one): the second waits for the first. */
async function lockRequest(db: Db, requestId: string): Promise<void> {
  if (db.dialect === 'postgres')
    await db.rows(sql`select pg_advisory_xact_lock(hashtextextended(cast(${requestId} as text), 7))`);
}

/** Those that are there are locked, in order: nobody forgets one until this is committed. */
async function missingDependency(db: Db, input: SubmitInput) {
  const wanted = input.steps.flatMap((step) => step.after).filter((on) => 'submission' in on);
  const ofSubmissions = db.dialect === 'postgres' ? sql`for update of s` : sql``;
  for (const dependency of wanted.sort((a, b) => a.submission - b.submission)) {
    const { submission, idx } = dependency;
    const there =
      idx === null
        ? await firstRow(
            db,
            sql`select 1 as one from submissions where id = ${submission} and gate <> 'loading' and project_id = ${input.projectId} ${db.lock.rows}`,
          )
        : await firstRow(
            db,
            sql`select 1 as one from tasks t join submissions s on s.id = t.submission_id
          where t.submission_id = ${submission} and t.idx = ${idx} and s.gate <> 'loading' and s.project_id = ${input.projectId} ${ofSubmissions}`,
          );
    if (!there) return dependency;
  }
  return undefined;
}

async function insertSubmission(db: Db, input: SubmitInput, submission: NewSubmission, step: number): Promise<number> {
  const queue = await queueOf(db, input.projectId, input.owner, submission.shapeKey);
  const row = await firstRow<{ id: number }>(
    db,
    sql`insert into submissions
      (project_id, queue_id, owner, name, request_id, step, created_at, priority, tasks, gate, not_before, waiting_since, spec, extras, question)
    values (${input.projectId}, ${queue}, ${input.owner}, ${submission.name}, ${input.requestId}, ${step}, ${db.now}, ${submission.priority}, 0, 'loading',
      ${submission.notBefore}, ${db.now}, ${submission.spec}, ${extrasOf(submission)}, ${submission.question}) returning id`,
  );
  const id = row?.id as number;
  await useDigests(db, input.projectId, id, submission.digests);
  if (submission.array) await insertArray(db, id, submission.array);
  if (submission.items && submission.items.payloads.length > 0) {
    await insertItems(db, id, submission.items);
    await useDigests(db, input.projectId, id, submission.items.digests);
  }
  return id;
}

function extrasOf(submission: NewSubmission): number {
  return (
    (submission.from.length > 0 ? EXTRAS.from : 0) +
    (submission.hasCheckpoint ? EXTRAS.checkpoint : 0) +
    (submission.reuse ? EXTRAS.reuse : 0)
  );
}

async function useDigests(db: Db, projectId: number, id: number, digests: readonly string[]): Promise<void> {
  await recordUses(
    db,
    digests.map((digest) => ({ projectId, submissionId: id, digest })),
  );
}

export async function queueOf(db: Db, projectId: number, owner: string, shapeKey: string): Promise<number> {
  await db.run(sql`insert into shapes (key) values (${shapeKey}) on conflict (key) do nothing`);
  const shape = await firstRow<{ id: number }>(db, sql`select id from shapes where key = ${shapeKey}`);
  const shapeId = shape?.id as number;
  await db.run(
    sql`insert into queues (project_id, owner, shape_id) values (${projectId}, ${owner}, ${shapeId}) on conflict (project_id, owner, shape_id) do nothing`,
  );
  const queue = await firstRow<{ id: number }>(
    db,
    sql`select id from queues where project_id = ${projectId} and owner = ${owner} and shape_id = ${shapeId}`,
  );
  return queue?.id as number;
}

/** An array small enough for one transaction goes in at once; the rest of a larger one is added in chunks. */
const ARRAY_CHUNK = 20_000;

async function insertArray(db: Db, id: number, array: { first: number; last: number; step: number }): Promise<void> {
  const count = Math.floor((array.last - array.first) / array.step) + 1;
  const now = Math.min(count, ARRAY_CHUNK);
  await insertRange(db, id, { first: array.first, step: array.step, count: now });
}

async function insertRange(db: Db, id: number, range: { first: number; step: number; count: number }): Promise<void> {
  const end = range.first + range.step * (range.count - 1);
  await db.run(sql`insert into tasks (submission_id, idx, state, sequence)
    with recursive numbers(n) as (select cast(${range.first} as bigint) union all select n + ${range.step} from numbers where n < ${end})
    select cast(${id} as bigint), n, 'queued', ${db.nextSequence} from numbers`);
  await countLoaded(db, id, range.count);
}

async function insertItems(db: Db, id: number, items: NewItems): Promise<void> {
  const given = db.table({
    i_idx: ['bigint', items.payloads.map((_, i) => items.first + i)],
    i_payload: ['text', items.payloads],
    i_inputs: ['text', items.inputs],
  });
  await db.run(sql`insert into tasks (submission_id, idx, state, payload, inputs, sequence)
    select cast(${id} as bigint), i_idx, 'queued', i_payload, i_inputs, ${db.nextSequence} from ${given} as given`);
  await countLoaded(db, id, items.payloads.length);
}

/** While it loads its tasks are counted in its own row only; they join the counts when the gate opens. */
async function countLoaded(db: Db, id: number, count: number): Promise<void> {
  await db.run(sql`update submissions set tasks = tasks + ${count}, waiting_since = ${db.now} where id = ${id}`);
}

async function insertDependencies(
  db: Db,
  ids: readonly number[],
  submission: NewSubmission,
  id: number,
): Promise<void> {
  const keys = new Map(
    submission.after.map((on) => {
      const pair = 'step' in on ? { on: ids[on.step] as number, idx: -1 } : { on: on.submission, idx: on.idx ?? -1 };
      return [`${pair.on}.${pair.idx}`, pair];
    }),
  );
  const after = [...keys.values()];
  if (after.length === 0) return;
  const given = db.table({ d_on: ['bigint', after.map((a) => a.on)], d_idx: ['bigint', after.map((a) => a.idx)] });
  await db.run(
    sql`insert into dependencies (submission_id, on_submission, on_idx) select cast(${id} as bigint), d_on, d_idx from ${given} as given`,
  );
  await db.run(sql`update submissions set waiting_for = ${after.length} where id = ${id}`);
  await db.run(sql`update submissions set has_dependents = 1 where id in (select d_on from ${given} as given)`);
}

/** How many tasks of an array are still to be inserted before its submission can be opened. */
export async function addArrayChunk(
  db: Db,
  input: { id: number; array: { first: number; last: number; step: number } },
): Promise<{ left: number }> {
  const row = await firstRow<{ tasks: number; project_id: number; gate: Gate }>(
    db,
    sql`select tasks, project_id, gate from submissions where id = ${input.id} and request_id is not null ${db.lock.rows}`,
  );
  if (row?.gate !== 'loading') return { left: 0 };
  const { first, last, step } = input.array;
  const total = Math.floor((last - first) / step) + 1;
  const count = Math.min(ARRAY_CHUNK, total - row.tasks);
  if (count > 0) await insertRange(db, input.id, { first: first + step * row.tasks, step, count });
  return { left: Math.max(0, total - row.tasks - count) };
}

export type AddResult =
  | { readonly ok: true }
  | { readonly ok: false; readonly refusal: 'not-open' | 'wrong-offset'; readonly tasks: number };

/** Adds a chunk to a submission that is still open. A repeated chunk adds nothing. */
export async function addItems(db: Db, input: { id: number; offset: number; items: NewItems }): Promise<AddResult> {
  const row = await firstRow<{ tasks: number; project_id: number; gate: Gate }>(
    db,
    sql`select tasks, project_id, gate from submissions where id = ${input.id} and request_id is not null ${db.lock.rows}`,
  );
  if (row?.gate !== 'loading') return { ok: false, refusal: 'not-open', tasks: row?.tasks ?? 0 };
  if (row.tasks === input.offset + input.items.payloads.length) return { ok: true };
  if (row.tasks !== input.offset) return { ok: false, refusal: 'wrong-offset', tasks: row.tasks };
  await insertItems(db, input.id, input.items);
  await useDigests(db, row.project_id, input.id, input.items.digests);
  return { ok: true };
}

/** Opens all submissions of a request at once: from here on it is accepted. Opening it again changes nothing. */
export async function openSubmissions(db: Db, input: { ids: readonly number[] }): Promise<void> {
  for (const id of input.ids) await openGate(db, id);
}

async function openGate(db: Db, id: number): Promise<void> {
  const row = await firstRow<{
    tasks: number;
    project_id: number;
    gate: Gate;
    waiting_for: number;
    not_before: number | null;
    reused: number;
  }>(
    db,
    sql`
    select tasks, project_id, gate, waiting_for, not_before, reused from submissions where id = ${id} and request_id is not null ${db.lock.rows}`,
  );
  if (row?.gate !== 'loading') return;
  const waits = row.waiting_for > 0 || (row.not_before !== null && row.not_before > db.now);
  await db.run(
    sql`update submissions set gate = ${waits ? 'waiting' : 'open'}, claimable = 1, waiting_since = ${db.now}, opened = ${db.nextSequence} where id = ${id}`,
  );
  await recordDeltas(db, [
    { projectId: row.project_id, submissionId: id, state: waits ? 'waiting' : 'queued', n: row.tasks - row.reused },
    { projectId: row.project_id, submissionId: id, state: 'succeeded', n: row.reused },
  ]);
  if (row.waiting_for > 0) await touchDependencies(db, row.project_id, id);
}

/** What is finished already will not finish again: the next fold looks at it. */
async function touchDependencies(db: Db, projectId: number, id: number): Promise<void> {
  const on = await db.rows<{ on_submission: number }>(
    sql`select distinct on_submission from dependencies where submission_id = ${id}`,
  );
  await touchSubmissions(
    db,
    on.map((row) => ({ projectId, submissionId: row.on_submission })),
  );
}
