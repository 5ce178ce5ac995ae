import { type Backlog, freeOf, type Present } from '../../core/pilots.ts';
import { parseShapeKey } from '../../core/shape.ts';
import { countsOf } from '../counts.ts';
import type { Db } from '../db.ts';
import { joinSql, sql } from '../sql.ts';
import { activeQueues, type Queue } from './active-queues.ts';
import { readAllowance } from './allowance.ts';

/** So many submissions of each queue are looked at; where there are more, so many in all, and of one queue. */
const FIRST = 4;
const IN_ALL = 4000;
const OF_ONE = 1000;
/** Queues that one statement asks: with more, putting it together takes longer than running it. */
const AT_ONCE = 50;
const COUNTED_AT_ONCE = 1000;

/**
 * What is queued, by shape, as far as it matters: of many small submissions not all are counted, but enough to know that
 * pilots are wanted. No task is looked at but where a submission has none to give.
 */
export async function backlogOf(db: Db, kinds: readonly string[]): Promise<Backlog[]> {
  const queues = (await activeQueues(db, null)).filter(({ shape }) => kinds.includes(shape.kind));
  const heads = await headsOf(db, queues);
  const queued = await queuedOf(db, [...heads.values()].flat());
  const allowance = await readAllowance(db, queues);
  return queues.flatMap((queue) => {
    const { id, projectId, shape } = queue;
    const sum = (heads.get(id) ?? []).reduce((all, head) => all + (queued.get(head) ?? 0), 0);
    // For what is over a limit no pilot can do anything.
    const wanted = Math.min(sum, Math.max(0, allowance.left(queue)));
    allowance.take(queue, wanted);
    return wanted > 0 ? [{ projectId, shape, queued: wanted }] : [];
  });
}

async function headsOf(db: Db, queues: readonly Queue[]): Promise<Map<number, number[]>> {
  const ids = queues.map(({ id }) => id);
  const heads = await firstOf(db, ids, FIRST);
  const longer = ids.filter((id) => heads.get(id)?.length === FIRST);
  const each = Math.min(OF_ONE, Math.floor(IN_ALL / Math.max(1, longer.length)));
  return each <= FIRST ? heads : new Map([...heads, ...(await firstOf(db, longer, each))]);
}

interface HeadRow {
  readonly queue_id: number;
  readonly id: number;
}

/** Of each queue the first submissions that may have something to claim. */
async function firstOf(db: Db, queues: readonly number[], limit: number): Promise<Map<number, number[]>> {
  const rows = db.dialect === 'postgres' ? await firstAtOnce(db, queues, limit) : await firstInParts(db, queues, limit);
  return new Map(
    [...Map.groupBy(rows, (row) => row.queue_id)].map(([queue, heads]) => [queue, heads.map(({ id }) => id)]),
  );
}

/** One plan for all of them: PostgreSQL takes longer to plan a query for each than to answer it. */
function firstAtOnce(db: Db, queues: readonly number[], limit: number): Promise<HeadRow[]> {
  return db.rows<HeadRow>(sql`select heads.queue_id, heads.id from ${db.table({ m_id: ['bigint', queues] })} as given
    cross join lateral (select queue_id, id from submissions
      where queue_id = m_id and claimable = 1 and gate = 'open' and ending is null order by priority desc, id limit ${limit}) as heads`);
}

async function firstInParts(db: Db, queues: readonly number[], limit: number): Promise<HeadRow[]> {
  const rows: HeadRow[] = [];
  for (let at = 0; at < queues.length; at += AT_ONCE) {
    const asked = queues.slice(at, at + AT_ONCE).map(
      (queue) => sql`select * from (select queue_id, id from submissions
        where queue_id = ${queue} and claimable = 1 and gate = 'open' and ending is null order by priority desc, id limit ${limit}) as heads`,
    );
    rows.push(...(await db.rows<HeadRow>(joinSql(asked, sql` union all `))));
  }
  return rows;
}

/** How many are queued of each. What says that it has some, and has none, stops saying so. */
async function queuedOf(db: Db, ids: readonly number[]): Promise<Map<number, number>> {
  const queued = new Map<number, number>();
  for (let at = 0; at < ids.length; at += COUNTED_AT_ONCE)
    for (const [id, counts] of await countsOf(db, ids.slice(at, at + COUNTED_AT_ONCE))) {
      queued.set(id, Math.max(0, counts.queued));
      if (counts.queued === 0)
        await db.run(
          sql`update submissions set claimable = 0 where id = ${id} and not exists (select 1 from tasks where submission_id = ${id} and state = 'queued')`,
        );
    }
  return queued;
}

interface WorkerThere {
  readonly session_id: string;
  readonly kinds: string;
  readonly total: string;
  readonly labels: string;
  readonly projects: string | null;
  readonly ends_at: number | null;
}

/** Workers that take tasks, pilots or not, with what is free of each. */
export async function workersThere(db: Db): Promise<Present[]> {
  const workers = await db.rows<WorkerThere>(
    sql`select session_id, kinds, total, labels, projects, ends_at from workers where state = 'alive' and instruction = 'work' and batch_hold = 0 order by number`,
  );
  const running = await db.rows<{ session_id: string; key: string; n: number }>(sql`
    select t.session_id, sh.key, count(*) as n from tasks t join submissions s on s.id = t.submission_id
      join queues q on q.id = s.queue_id join shapes sh on sh.id = q.shape_id
    where t.state = 'running' group by t.session_id, sh.key`);
  const bySession = Map.groupBy(running, (row) => row.session_id);
  return workers.map((worker) => {
    const total = JSON.parse(worker.total);
    const held = (bySession.get(worker.session_id) ?? []).map(({ key, n }) => ({
      shape: parseShapeKey(key),
      n: Number(n),
    }));
    return {
      id: worker.session_id,
      facts: {
        kinds: JSON.parse(worker.kinds),
        total,
        labels: JSON.parse(worker.labels),
        remainingSeconds: worker.ends_at === null ? null : (worker.ends_at - db.now) / 1000,
      },
      free: freeOf(total, held),
      projects: worker.projects === null ? null : JSON.parse(worker.projects),
    };
  });
}
