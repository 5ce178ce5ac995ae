import { addBurden, burden, NO_USAGE, nextSharer, type Sharer, slotsOf, turnOf } from '../../core/fair-share.ts';
import type { Db } from '../db.ts';
import { accountsOf } from '../owner-usage.ts';
import type { Queue } from './active-queues.ts';
import { type ClaimedRow, type Left, roomFor, type Taken, takeFrom } from './take-tasks.ts';

/** An owner with queues that have something to claim. */
export interface OwnerQueues extends Sharer {
  readonly owner: string;
  readonly queues: readonly Queue[];
}

/** The owners of queues, with what each had of late. One alone has nobody to share with: nothing is looked up. */
export async function ownersOf(db: Db, queues: readonly Queue[], halfLifeMs: number): Promise<OwnerQueues[]> {
  const byOwner = Map.groupBy(queues, ({ owner }) => owner);
  const accounts = byOwner.size > 1 ? await accountsOf(db, [...byOwner.keys()], halfLifeMs) : new Map();
  return [...byOwner]
    .map(([owner, of]) => {
      const weight = of[0]?.weight ?? 1;
      return { owner, queues: of, weight, burden: burden(accounts.get(owner) ?? NO_USAGE, weight) };
    })
    .sort((a, b) => (a.owner < b.owner ? -1 : 1));
}

/** Takes tasks turn by turn: the next turn is that of the owner who has had least, what this gives away included. */
export async function shareOut(db: Db, owners: readonly OwnerQueues[], before: Left): Promise<Taken> {
  let left = before;
  const claimed: ClaimedRow[] = [];
  for (let waiting = [...owners]; left.most > 0; ) {
    waiting = waiting.filter(({ queues }) => queues.some((queue) => roomFor(left, queue) > 0));
    const next = nextSharer(waiting);
    if (!next) break;
    const others = waiting.filter((one) => one !== next);
    const most = others.length === 0 ? left.most : turnFor(next, others, left);
    const given = left;
    const taken = await takeFrom(db, next.queues, { ...given, most });
    claimed.push(...taken.claimed);
    left = { ...left, free: taken.free, most: left.most - taken.claimed.length };
    const slots = Math.max(taken.claimed.length, given.free.cpus - taken.free.cpus);
    waiting = taken.claimed.length < most ? others : [...others, addBurden(next, slots)];
  }
  return { ...left, claimed };
}

/** By the largest of the owner's tasks: with smaller ones it takes more turns. */
function turnFor(next: OwnerQueues, others: readonly OwnerQueues[], left: Left): number {
  const fitting = next.queues.filter((queue) => roomFor(left, queue) > 0);
  const slots = Math.max(...fitting.map(({ shape }) => slotsOf(shape)));
  return turnOf(next, others, { slots, room: Math.min(...fitting.map((queue) => roomFor(left, queue))) });
}
