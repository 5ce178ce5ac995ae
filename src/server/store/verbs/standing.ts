import { type Account, burden, NO_USAGE } from '../../core/fair-share.ts';
import type { Shape } from '../../core/shape.ts';
import type { Db } from '../db.ts';
import { accountsOf } from '../owner-usage.ts';
import { sql } from '../sql.ts';
import { activeQueues, type Queue } from './active-queues.ts';
import { limitsOf, readAllowance, runningOf } from './allowance.ts';

export interface Standing {
  readonly owner: string;
  readonly weight: number;
  readonly account: Account;
}

export interface Waiting {
  readonly projectId: number;
  readonly shape: Shape;
}

export interface StandingFacts {
  readonly own: Standing;
  /** Who has had less of late and has tasks waiting that may run, least first; and what these ask for. */
  readonly before: ReadonlyArray<Standing & { readonly waiting: readonly Waiting[] }>;
  /** Limits that are reached. */
  readonly reached: ReadonlyArray<{
    readonly of: 'user' | 'project';
    readonly limit: number;
    readonly running: number;
  }>;
}

/** Where the owner of a submission stands among those whose tasks wait. */
export async function findStanding(
  db: Db,
  input: { submission: number; halfLifeMs: number },
): Promise<StandingFacts | null> {
  const row = (
    await db.rows<{ queue_id: number }>(sql`select queue_id from submissions where id = ${input.submission}`)
  )[0];
  const queues = (await activeQueues(db, null)).filter((queue) => !queue.isBorrowed);
  const queue = queues.find(({ id }) => id === row?.queue_id);
  if (!queue) return null;
  const allowance = await readAllowance(db, queues);
  const byOwner = Map.groupBy(queues, ({ owner }) => owner);
  const accounts = await accountsOf(db, [...byOwner.keys()], input.halfLifeMs);
  const standing = ({ owner, weight }: Queue) => ({ owner, weight, account: accounts.get(owner) ?? NO_USAGE });
  const own = standing(queue);
  const rank = (one: Standing) => burden(one.account, one.weight);
  const before = [...byOwner.values()]
    .map((of) => ({
      ...standing(of[0] as Queue),
      waiting: of.filter((one) => allowance.left(one) > 0).map(({ projectId, shape }) => ({ projectId, shape })),
    }))
    .filter((one) => one.waiting.length > 0 && rank(one) < rank(own))
    .sort((a, b) => rank(a) - rank(b));
  return { own, before, reached: await reachedBy(db, queue) };
}

async function reachedBy(db: Db, queue: Queue): Promise<StandingFacts['reached']> {
  const running = await runningOf(db, [queue]);
  return limitsOf(queue)
    .map(({ key, of, most: limit }) => ({ of, limit, running: running.get(key) ?? 0 }))
    .filter((one) => one.running >= one.limit);
}
