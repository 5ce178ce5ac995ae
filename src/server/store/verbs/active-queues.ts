import { parseShapeKey, type Shape } from '../../core/shape.ts';
import type { Db } from '../db.ts';
import { sql } from '../sql.ts';

export interface Queue {
  readonly id: number;
  readonly projectId: number;
  readonly project: string;
  readonly owner: string;
  readonly shape: Shape;
  /** Its tasks are a neighbour's. */
  readonly isBorrowed: boolean;
  /** Of its owner, among other owners. */
  readonly weight: number;
  /** How many tasks its owner, and its project, may have running. */
  readonly ownerLimit: number | null;
  readonly projectLimit: number | null;
}

interface QueueRow {
  readonly id: number;
  readonly project_id: number;
  readonly project: string;
  readonly owner: string;
  readonly peer_id: string | null;
  readonly key: string;
  readonly weight: number | null;
  readonly owner_limit: number | null;
  readonly project_limit: number | null;
}

/** The queues that have something to claim, found by skipping from one to the next in the index. */
export async function activeQueues(db: Db, projects: readonly number[] | null): Promise<Queue[]> {
  const rows = await db.rows<QueueRow>(sql`
    with recursive active(queue_id) as (
      select min(queue_id) from submissions where claimable = 1
      union all
      select (select min(s.queue_id) from submissions s where s.claimable = 1 and s.queue_id > active.queue_id)
      from active where active.queue_id is not null
    )
    select q.id, q.project_id, p.name as project, q.owner, p.peer_id, sh.key, o.weight, o.running_limit as owner_limit, p.running_limit as project_limit
      from active join queues q on q.id = active.queue_id join shapes sh on sh.id = q.shape_id
      join projects p on p.id = q.project_id left join owners o on o.name = q.owner`);
  return rows.filter((row) => projects === null || projects.includes(row.project_id)).map(toQueue);
}

function toQueue({ id, project_id: projectId, project, owner, key, ...row }: QueueRow): Queue {
  const { weight, owner_limit: ownerLimit, project_limit: projectLimit } = row;
  const isBorrowed = row.peer_id !== null;
  return {
    id,
    projectId,
    project,
    owner,
    shape: parseShapeKey(key),
    isBorrowed,
    weight: weight ?? 1,
    ownerLimit,
    projectLimit,
  };
}
