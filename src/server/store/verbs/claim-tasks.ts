import {
  type Capacity,
  countFitting,
  fits,
  parseShapeKey,
  type Shape,
  smaller,
  subtract,
  type WorkerFacts,
} from '../../core/shape.ts';
import { recordDeltas } from '../counts.ts';
import type { Db } from '../db.ts';
import { joinSql, sql } from '../sql.ts';

export interface ClaimRequest {
  readonly session: string;
  readonly exchangeNumber: number;
  readonly worker: WorkerFacts;
  /** What the worker says is free; what the database knows it holds is taken off besides. */
  readonly free: Capacity;
  /** So many small tasks more than fit: the worker runs very short ones, and they wait there for the next end. */
  readonly ahead: number;
  readonly most: number;
  readonly projects: readonly number[] | null;
  /** Whoever claims is a neighbour: what it says is free is all that counts, and nothing is kept free for wide tasks. */
  readonly isNeighbour?: boolean;
  readonly reservedQueue: number | null;
  readonly reserveAfterMs: number;
  /** An attempt's secret is made from it and the attempt's name, so that a lost reply can be made anew; only a hash is kept. */
  readonly sessionSecret: string;
}

export interface ClaimedRow {
  readonly submission_id: number;
  readonly idx: number;
  readonly attempt: number;
  readonly payload: string | null;
  readonly inputs: string | null;
}

export interface ClaimResult {
  readonly claimed: readonly ClaimedRow[];
  /** A queue whose tasks wait so long that this worker keeps itself free for them. */
  readonly reservedQueue: number | null;
}

export interface Queue {
  readonly id: number;
  readonly projectId: number;
  readonly shape: Shape;
  /** Its tasks are a neighbour's. */
  readonly isBorrowed: boolean;
}

interface Head {
  readonly id: number;
  readonly queue_id: number;
  readonly project_id: number;
  readonly priority: number;
  readonly waiting_since: number;
}

/**
 * Hands the next queued tasks to a worker: our own before those of neighbours, highest priority first, then oldest, and
 * never what does not fit. Queues are by what tasks ask for, so tasks of another shape cost nothing. The one transition
 * made in SQL instead of in core: it must be chosen and taken in a single step.
 */
export async function claimTasks(db: Db, request: ClaimRequest): Promise<ClaimResult> {
  const active = await activeQueues(db, request.projects);
  const possible = active.filter((queue) => fits(queue.shape, request.worker));
  if (possible.length === 0 || request.most === 0) return { claimed: [], reservedQueue: null };
  const own = possible.filter((queue) => !queue.isBorrowed);
  const all = request.isNeighbour ? request.free : smaller(request.free, await heldCapacity(db, request));
  const reserved = request.isNeighbour ? null : await reservation(db, request, own, all);
  const ahead = reserved === null ? request.ahead : 0;
  const open = reserved === null ? own : own.filter((queue) => queue.id === reserved);
  const first = await takeFrom(db, open, { request, free: all, ahead, most: request.most });
  if (reserved !== null) return { claimed: first.claimed, reservedQueue: first.claimed.length > 0 ? null : reserved };
  const rest = { request, free: first.free, ahead: first.ahead, most: request.most - first.claimed.length };
  const second = await takeFrom(
    db,
    possible.filter((queue) => queue.isBorrowed),
    rest,
  );
  return { claimed: [...first.claimed, ...second.claimed], reservedQueue: null };
}

interface Left {
  readonly request: ClaimRequest;
  readonly free: Capacity;
  readonly ahead: number;
  readonly most: number;
}

async function takeFrom(db: Db, open: readonly Queue[], left: Left) {
  const { request, ahead, most: atMost } = left;
  let { free } = left;
  const fitting = (shape: Shape, most: number) =>
    countFitting(shape, mayWaitThere(shape) ? { ...free, cpus: free.cpus + ahead } : free, most);
  const claimed: ClaimedRow[] = [];
  const passed = new Set<number>();
  for (let more = open.length > 0; more && claimed.length < atMost; ) {
    more = false;
    for (const head of await firstHeads(
      db,
      open.filter((queue) => fitting(queue.shape, 1) > 0),
      passed,
    )) {
      const shape = open.find((queue) => queue.id === head.queue_id)?.shape as Shape;
      const most = fitting(shape, atMost - claimed.length);
      if (most === 0) continue;
      const taken = await takeTasks(db, head, most, request);
      if (taken.length < most) await clearClaimable(db, head.id);
      passed.add(head.id);
      free = subtract(free, shape, taken.length);
      claimed.push(...taken);
      more = true;
    }
  }
  return { claimed, free, ahead };
}

/** Only what takes a core and nothing scarce. */
function mayWaitThere(shape: Shape): boolean {
  return shape.cpus === 1 && shape.gpus === 0 && Object.keys(shape.named).length === 0;
}

/** The queues that have something to claim, found by skipping from one to the next in the index. */
export async function activeQueues(db: Db, projects: readonly number[] | null): Promise<Queue[]> {
  const rows = await db.rows<{ id: number; project_id: number; peer_id: string | null; key: string }>(sql`
    with recursive active(queue_id) as (
      select min(queue_id) from submissions where claimable = 1
      union all
      select (select min(s.queue_id) from submissions s where s.claimable = 1 and s.queue_id > active.queue_id)
      from active where active.queue_id is not null
    )
    select q.id, q.project_id, p.peer_id, sh.key from active join queues q on q.id = active.queue_id join shapes sh on sh.id = q.shape_id
      join projects p on p.id = q.project_id`);
  return rows
    .filter((row) => projects === null || projects.includes(row.project_id))
    .map((row) => ({
      id: row.id,
      projectId: row.project_id,
      shape: parseShapeKey(row.key),
      isBorrowed: row.peer_id !== null,
    }));
}

/** What the worker has less what the tasks take that the database knows it runs. */
async function heldCapacity(db: Db, request: ClaimRequest): Promise<Capacity> {
  const rows = await db.rows<{ key: string; n: number }>(sql`
    select sh.key, count(*) as n from tasks t join submissions s on s.id = t.submission_id
      join queues q on q.id = s.queue_id join shapes sh on sh.id = q.shape_id
    where t.session_id = ${request.session} and t.state = 'running' group by sh.key`);
  return rows.reduce((left, row) => subtract(left, parseShapeKey(row.key), row.n), request.worker.total);
}

/**
 * A task that needs more of a worker than is free has to wait while smaller ones are served. One that waited too long
 * gets a worker to itself: that worker takes nothing else until it fits.
 */
async function reservation(
  db: Db,
  request: ClaimRequest,
  possible: readonly Queue[],
  free: Capacity,
): Promise<number | null> {
  const kept = possible.filter((queue) => queue.id === request.reservedQueue);
  // Others may have taken what it was reserved for; what waits behind a gate does not need it yet.
  if (await firstQueued(db, kept)) return request.reservedQueue;
  const tooWide = possible.filter((queue) => countFitting(queue.shape, free, 1) === 0);
  if (tooWide.length === 0) return null;
  const head = await firstQueued(db, tooWide);
  if (!head || db.now - head.waiting_since < request.reserveAfterMs) return null;
  const others = await db.rows(
    sql`select 1 from workers where state = 'alive' and reserved_queue = ${head.queue_id} and session_id <> ${request.session}`,
  );
  return others.length > 0 ? null : head.queue_id;
}

/** The first submission of which something is queued. Flags of those that were emptied to the last task are cleared. */
async function firstQueued(db: Db, queues: readonly Queue[]): Promise<Head | undefined> {
  for (const head of await firstHeads(db, queues, new Set())) {
    const queued = await db.rows(
      sql`select 1 as one from tasks where submission_id = ${head.id} and state = 'queued' limit 1`,
    );
    if (queued.length > 0) return head;
    await clearClaimable(db, head.id);
  }
  return undefined;
}

const HEADS = 32;

/**
 * Of several queues the submissions that come first, in order. Each queue is asked for its own first ones only; what
 * comes after the last one known of a queue that may have more is left for another call.
 */
async function firstHeads(db: Db, queues: readonly Queue[], passed: ReadonlySet<number>): Promise<Head[]> {
  const heads: Head[] = [];
  let bound: Head | undefined;
  for (let i = 0; i < queues.length; i += 200) {
    const limit = HEADS + passed.size;
    const found = await db.rows<Head>(
      joinSql(
        queues.slice(i, i + 200).map(
          (queue) => sql`select * from (select id, queue_id, project_id, priority, waiting_since from submissions
          where queue_id = ${queue.id} and claimable = 1 and gate = 'open' and ending is null
          order by priority desc, id limit ${limit}) as heads`,
        ),
        sql` union all `,
      ),
    );
    for (const ofQueue of Map.groupBy(found, (head) => head.queue_id).values()) {
      const last = ofQueue.at(-1) as Head;
      if (ofQueue.length === limit && (bound === undefined || isBefore(last, bound))) bound = last;
    }
    heads.push(...found);
  }
  const end = bound;
  return heads
    .filter((head) => !passed.has(head.id) && (end === undefined || !isBefore(end, head)))
    .sort((a, b) => (isBefore(a, b) ? -1 : 1));
}

function isBefore(a: Head, b: Head): boolean {
  return a.priority === b.priority ? a.id < b.id : a.priority > b.priority;
}

async function takeTasks(db: Db, head: Head, most: number, request: ClaimRequest): Promise<ClaimedRow[]> {
  const name = sql`cast(${`${request.sessionSecret}:`} as text) || submission_id || '.' || idx || '/' || (attempt + 1)`;
  const claimed = await db.rows<ClaimedRow>(sql`
    with chosen as materialized (
      select submission_id as c_submission, idx as c_idx from tasks
      where submission_id = ${head.id} and state = 'queued' order by idx limit ${most} ${db.lock.skipLocked}
    )
    update tasks set state = 'running', attempt = attempt + 1, attempt_state = 'open', session_id = ${request.session},
      exchange_number = ${request.exchangeNumber}, secret_hash = ${db.sha256(db.sha256(name))}, claimed_at = ${db.now}, started_at = ${db.now},
      finished_at = null, not_before = null, reason = null, exit_code = null, progress = null, site_state = null,
      revision = revision + 1, sequence = ${db.nextSequence}
    from chosen where submission_id = c_submission and idx = c_idx
    returning submission_id, idx, attempt, payload, inputs`);
  await recordDeltas(db, [
    { projectId: head.project_id, submissionId: head.id, state: 'queued', n: -claimed.length },
    { projectId: head.project_id, submissionId: head.id, state: 'running', n: claimed.length },
  ]);
  return claimed.sort((a, b) => a.idx - b.idx);
}

/** A submission of which nothing is queued leaves the index. Its row is locked first, and then looked at anew. */
export async function clearClaimable(db: Db, submission: number): Promise<void> {
  const locked = await db.rows(sql`select id from submissions where id = ${submission} ${db.lock.skipLocked}`);
  if (locked.length === 0) return;
  await db.run(sql`update submissions set claimable = 0 where id = ${submission}
    and not exists (select 1 from tasks where submission_id = ${submission} and state = 'queued')`);
}
