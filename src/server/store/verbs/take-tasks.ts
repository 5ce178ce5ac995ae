/** Takes tasks out of queues: of several those of the highest priority first, then the oldest. */
import { type Capacity, countFitting, type Shape, subtract, type WorkerFacts } from '../../core/shape.ts';
import { recordDeltas } from '../counts.ts';
import type { Db } from '../db.ts';
import { joinSql, sql } from '../sql.ts';
import type { Queue } from './active-queues.ts';
import type { Allowance } from './allowance.ts';

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
  /** So fast what owners have used fades. */
  readonly halfLifeMs: number;
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

export interface Head {
  readonly id: number;
  readonly queue_id: number;
  readonly project_id: number;
  readonly priority: number;
  readonly waiting_since: number;
}

/** What is left to fill, and what may fill it. */
export interface Left {
  readonly request: ClaimRequest;
  readonly allowance: Allowance;
  readonly free: Capacity;
  readonly ahead: number;
  readonly most: number;
}

export interface Taken extends Left {
  readonly claimed: readonly ClaimedRow[];
}

/** How many tasks of a queue may be taken now. */
export function roomFor({ allowance, free, ahead, most }: Omit<Left, 'request'>, queue: Queue): number {
  const room = mayWaitThere(queue.shape) ? { ...free, cpus: free.cpus + ahead } : free;
  return Math.min(countFitting(queue.shape, room, most), Math.max(0, allowance.left(queue)));
}

export async function takeFrom(db: Db, open: readonly Queue[], before: Left): Promise<Taken> {
  let left = before;
  const claimed: ClaimedRow[] = [];
  const passed = new Set<number>();
  for (let more = open.length > 0; more && left.most > 0; ) {
    more = false;
    const possible = open.filter((queue) => roomFor({ ...left, most: 1 }, queue) > 0);
    for (const head of await firstHeads(db, possible, passed)) {
      const queue = open.find(({ id }) => id === head.queue_id) as Queue;
      const most = roomFor(left, queue);
      if (most === 0) continue;
      const taken = await takeTasks(db, head, most, left.request);
      if (taken.length < most) await clearClaimable(db, head.id);
      passed.add(head.id);
      left.allowance.take(queue, taken.length);
      left = { ...left, free: subtract(left.free, queue.shape, taken.length), most: left.most - taken.length };
      claimed.push(...taken);
      more = true;
    }
  }
  return { ...left, claimed };
}

/** Only what takes a core and nothing scarce. */
function mayWaitThere(shape: Shape): boolean {
  return shape.cpus === 1 && shape.gpus === 0 && Object.keys(shape.named).length === 0;
}

const HEADS = 32;

/**
 * Of several queues the submissions that come first, in order. Each queue is asked for its own first ones only; what
 * comes after the last one known of a queue that may have more is left for another call.
 */
export async function firstHeads(db: Db, queues: readonly Queue[], passed: ReadonlySet<number>): Promise<Head[]> {
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
