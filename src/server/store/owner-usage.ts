/**
 * What owners have used of late and run now. It is made from the same differences as the counts by state: nothing more
 * is written when tasks are claimed or end, and no row of an owner is one that servers wait at.
 */
import { type Account, NO_USAGE, slotsOf, sumAccounts } from '../core/fair-share.ts';
import { parseShapeKey } from '../core/shape.ts';
import { type Db, firstRow } from './db.ts';
import { type Sql, sql } from './sql.ts';

/** `n` more (or fewer) tasks of a queue run since `at`. */
interface Change {
  readonly queueId: number;
  readonly n: number;
  readonly at: number;
}

/** Queues whose tasks count for their owners: neither a neighbour's nor pilots, which are workers. From queues as `q`. */
const COUNTED: Sql = sql`join shapes sh on sh.id = q.shape_id join projects p on p.id = q.project_id and p.peer_id is null and p.name <> 'pilots'`;

interface QueueRow {
  readonly id: number;
  readonly owner: string;
  readonly key: string;
  readonly limited: number;
}

/** Adds differences to their owners' accounts. Says whether something ended of whom or what may run so many only. */
export async function foldUsage(db: Db, changes: readonly Change[], halfLifeMs: number): Promise<boolean> {
  if (changes.length === 0) return false;
  const given = db.table({ m_id: ['bigint', [...new Set(changes.map(({ queueId }) => queueId))]] });
  const queues =
    await db.rows<QueueRow>(sql`select q.id, q.owner, sh.key, case when coalesce(p.running_limit, o.running_limit) is null then 0 else 1 end as limited
    from queues q ${COUNTED} left join owners o on o.name = q.owner where q.id in (select m_id from ${given} as given)`);
  const known = new Map(queues.map((queue) => [queue.id, queue]));
  const counted = changes.flatMap((change) => {
    const queue = known.get(change.queueId);
    return queue ? [{ ...change, queue }] : [];
  });
  const byOwner = Map.groupBy(counted, ({ queue }) => queue.owner);
  // In one order, so that two servers that fold cannot lock each other out.
  for (const owner of [...byOwner.keys()].sort()) {
    const accounts = (byOwner.get(owner) ?? []).map(({ n, at, queue }) => toAccount(queue.key, n, at));
    await addTo(db, owner, accounts, halfLifeMs);
  }
  return counted.some(({ n, queue }) => n < 0 && queue.limited === 1);
}

function toAccount(key: string, n: number, at: number): Account {
  return { slotSeconds: 0, slots: n * slotsOf(parseShapeKey(key)), tasks: n, at };
}

async function addTo(db: Db, owner: string, accounts: readonly Account[], halfLifeMs: number): Promise<void> {
  await db.run(sql`insert into owner_usage (owner, slot_seconds, slots, tasks, at) values (${owner}, 0, 0, 0, ${db.now})
    on conflict (owner) do nothing`);
  const row = await firstRow<UsageRow>(
    db,
    sql`select owner, slot_seconds, slots, tasks, at from owner_usage where owner = ${owner} ${db.lock.rows}`,
  );
  const before = row ? fromRow(row) : NO_USAGE;
  const { slotSeconds, slots, tasks } = sumAccounts([before, ...accounts], db.now, halfLifeMs);
  await db.run(sql`update owner_usage set slot_seconds = cast(${String(Math.max(0, slotSeconds))} as double precision), slots = ${slots},
    tasks = ${tasks}, at = ${db.now} where owner = ${owner}`);
}

interface UsageRow {
  readonly owner: string;
  readonly slot_seconds: number;
  readonly slots: number;
  readonly tasks: number;
  readonly at: number;
}

function fromRow({ slot_seconds: slotSeconds, slots, tasks, at }: UsageRow): Account {
  return { slotSeconds, slots: Number(slots), tasks: Number(tasks), at };
}

/** The accounts of some owners, or of all who have one, as of now. In one statement: a fold may be under way beside. */
export async function accountsOf(
  db: Db,
  owners: readonly string[] | null,
  halfLifeMs: number,
): Promise<Map<string, Account>> {
  const given = db.table({ m_owner: ['text', owners ?? []] });
  const of = (column: Sql) => (owners === null ? sql`true` : sql`${column} in (select m_owner from ${given} as given)`);
  const rows = await db.rows<UsageRow & { key: string | null }>(sql`
    select owner, slot_seconds, slots, tasks, at, null as key from owner_usage where ${of(sql`owner`)}
    union all
    select q.owner, 0, 0, sum(d.n), d.at, sh.key from count_deltas d join queues q on q.id = d.queue_id ${COUNTED}
      where ${of(sql`q.owner`)} group by q.owner, sh.key, d.at`);
  const byOwner = Map.groupBy(rows, (row) => row.owner);
  return new Map(
    [...byOwner].map(([owner, parts]) => [owner, sumAccounts(parts.map(partOf), db.now, halfLifeMs)] as const),
  );
}

function partOf(row: UsageRow & { key: string | null }): Account {
  return row.key === null ? fromRow(row) : toAccount(row.key, Number(row.tasks), row.at);
}
