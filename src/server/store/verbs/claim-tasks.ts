import { nextSharer } from '../../core/fair-share.ts';
import { type Capacity, countFitting, fits, parseShapeKey, smaller, subtract } from '../../core/shape.ts';
import type { Db } from '../db.ts';
import { sql } from '../sql.ts';
import { activeQueues, type Queue } from './active-queues.ts';
import { type Allowance, openAllowance } from './allowance.ts';
import { ownersOf, shareOut } from './share-out.ts';
import { type ClaimedRow, type ClaimRequest, clearClaimable, firstHeads, type Head, takeFrom } from './take-tasks.ts';

export interface ClaimResult {
  readonly claimed: readonly ClaimedRow[];
  /** A queue whose tasks wait so long that this worker keeps itself free for them. */
  readonly reservedQueue: number | null;
}

/**
 * Hands the next queued tasks to a worker: our own before those of neighbours; of owners who had least of late first, of
 * one owner's the highest priority first, then the oldest; and never what does not fit, or is over a limit. Queues are by
 * what tasks ask for, so tasks of another shape cost nothing. The one transition made in SQL instead of in core: it must
 * be chosen and taken in a single step. `opened`: by whoever claims several times in one transaction.
 */
export async function claimTasks(db: Db, request: ClaimRequest, opened?: Allowance): Promise<ClaimResult> {
  const active = await activeQueues(db, request.projects);
  const possible = active.filter((queue) => fits(queue.shape, request.worker));
  if (possible.length === 0 || request.most === 0) return { claimed: [], reservedQueue: null };
  const allowance = opened ?? (await openAllowance(db, possible));
  const own = possible.filter((queue) => !queue.isBorrowed && allowance.left(queue) > 0);
  const owners = await ownersOf(db, own, request.halfLifeMs);
  const all = request.isNeighbour ? request.free : smaller(request.free, await heldCapacity(db, request));
  const next = nextSharer(owners)?.queues ?? [];
  const reserved = request.isNeighbour ? null : await reservation(db, request, { own, next }, all);
  const left = { request, allowance, free: all, ahead: reserved === null ? request.ahead : 0, most: request.most };
  if (reserved !== null) {
    const { claimed } = await takeFrom(
      db,
      own.filter((queue) => queue.id === reserved),
      left,
    );
    return { claimed, reservedQueue: claimed.length > 0 ? null : reserved };
  }
  const first = await shareOut(db, owners, left);
  const borrowed = possible.filter((queue) => queue.isBorrowed);
  const second = await takeFrom(db, borrowed, first);
  return { claimed: [...first.claimed, ...second.claimed], reservedQueue: null };
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
 * gets a worker to itself: that worker takes nothing else until it fits. It is one of the owner whose turn it is.
 */
async function reservation(
  db: Db,
  request: ClaimRequest,
  { own, next }: { readonly own: readonly Queue[]; readonly next: readonly Queue[] },
  free: Capacity,
): Promise<number | null> {
  const kept = own.filter((queue) => queue.id === request.reservedQueue);
  // Others may have taken what it was reserved for; what waits behind a gate does not need it yet.
  if (await firstQueued(db, kept)) return request.reservedQueue;
  const tooWide = next.filter((queue) => countFitting(queue.shape, free, 1) === 0);
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
