import { type Capacity, countFitting, fits, parseShapeKey, subtract, type WorkerFacts } from '../../core/shape.ts';
import type { Db } from '../db.ts';
import { sql } from '../sql.ts';
import { activeQueues, type Queue } from './active-queues.ts';
import { readAllowance } from './allowance.ts';
import type { WorkerRow } from './workers.ts';

/** A worker with what it has free, maybe nothing: none of our own tasks waits for it. */
export interface IdleWorker {
  readonly facts: WorkerFacts;
  readonly free: Capacity;
}

export interface Supply {
  readonly idle: readonly IdleWorker[];
  /** Of all workers that serve neighbours: what a share of it is taken from. */
  readonly cpus: number;
}

/**
 * What neighbours may be asked to fill: workers of our own that take commands of any project, with what they have free
 * and no task of our own waits for. One that is reserved for a wide task of ours has nothing free.
 */
export async function findSupply(db: Db): Promise<Supply> {
  const workers = await db.rows<WorkerRow>(sql`select * from workers where state = 'alive' and instruction = 'work'
    and peer_id is null and batch_hold = 0 and projects is null order by number`);
  const serving = workers.map(toServing).filter((worker) => worker.facts.kinds.includes('command'));
  const cpus = serving.reduce((sum, worker) => sum + worker.facts.total.cpus, 0);
  if (serving.length === 0) return { idle: [], cpus };
  const busy = await runningOf(db);
  const active = (await activeQueues(db, null)).filter((queue) => !queue.isBorrowed);
  const allowance = await readAllowance(db, active);
  const own = active.filter((queue) => allowance.left(queue) > 0);
  const idle = serving.flatMap(({ session, facts, reserved }) => {
    const held = busy.get(session) ?? [];
    const free = held.reduce((left, one) => subtract(left, parseShapeKey(one.key), one.n), facts.total);
    const isFull = free.cpus <= 0;
    const waited = own.some(({ shape }: Queue) => fits(shape, facts) && (isFull || countFitting(shape, free, 1) > 0));
    return reserved || waited ? [] : [{ facts, free }];
  });
  return { idle, cpus };
}

function toServing(worker: WorkerRow) {
  const facts: WorkerFacts = {
    kinds: JSON.parse(worker.kinds),
    total: JSON.parse(worker.total),
    labels: JSON.parse(worker.labels),
    remainingSeconds: worker.ends_at === null ? null : (worker.ends_at - worker.seen_at) / 1000,
  };
  return { session: worker.session_id, facts, reserved: worker.reserved_queue !== null };
}

async function runningOf(db: Db): Promise<Map<string, Array<{ key: string; n: number }>>> {
  const rows = await db.rows<{ session_id: string; key: string; n: number }>(sql`
    select t.session_id, sh.key, count(*) as n from tasks t join submissions s on s.id = t.submission_id
      join queues q on q.id = s.queue_id join shapes sh on sh.id = q.shape_id
    where t.state = 'running' group by t.session_id, sh.key`);
  return Map.groupBy(
    rows.map((row) => ({ ...row, n: Number(row.n) })),
    (row) => row.session_id,
  );
}

/** What has tasks to claim: by project and what they ask for. `home` is JSON, of borrowed ones. */
export interface DemandRow {
  readonly project: string;
  readonly peer_id: string | null;
  readonly home: string | null;
  readonly key: string;
}

export async function findDemand(db: Db): Promise<DemandRow[]> {
  return db.rows<DemandRow>(sql`
    with recursive active(queue_id) as (
      select min(queue_id) from submissions where claimable = 1
      union all
      select (select min(s.queue_id) from submissions s where s.claimable = 1 and s.queue_id > active.queue_id)
      from active where active.queue_id is not null
    )
    select distinct p.name as project, p.peer_id, p.home, sh.key from active join queues q on q.id = active.queue_id
      join shapes sh on sh.id = q.shape_id join projects p on p.id = q.project_id
    where exists (select 1 from submissions s where s.queue_id = q.id and s.claimable = 1 and s.gate = 'open' and s.ending is null)
    limit 1000`);
}
