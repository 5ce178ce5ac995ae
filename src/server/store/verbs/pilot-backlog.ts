import { type Backlog, freeOf, type Present } from '../../core/pilots.ts';
import { parseShapeKey } from '../../core/shape.ts';
import { countsOf } from '../counts.ts';
import type { Db } from '../db.ts';
import { sql } from '../sql.ts';
import { activeQueues } from './claim-tasks.ts';

/** Enough of a queue to know that every site is wanted to its limit. */
const HEADS = 1000;

/** What is queued, by shape, as far as it matters. No task is looked at but where a submission has none to give. */
export async function backlogOf(db: Db): Promise<Backlog[]> {
  const found: Backlog[] = [];
  for (const queue of (await activeQueues(db, null)).filter(({ shape }) => shape.kind === 'command')) {
    const heads = await db.rows<{ id: number }>(sql`select id from submissions
      where queue_id = ${queue.id} and claimable = 1 and gate = 'open' and ending is null order by priority desc, id limit ${HEADS}`);
    const counts = await countsOf(
      db,
      heads.map(({ id }) => id),
    );
    for (const [id, { queued }] of counts)
      if (queued === 0)
        await db.run(
          sql`update submissions set claimable = 0 where id = ${id} and not exists (select 1 from tasks where submission_id = ${id} and state = 'queued')`,
        );
    const queued = [...counts.values()].reduce((sum, one) => sum + Math.max(0, one.queued), 0);
    if (queued > 0) found.push({ projectId: queue.projectId, shape: queue.shape, queued });
  }
  return found;
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
