import type { Db } from '../db.ts';
import { sql } from '../sql.ts';
import type { Queue } from './active-queues.ts';

/** How many more tasks may run of owners and projects that may have so many running only. */
export interface Allowance {
  /** Of a queue that has no limit: infinitely many. */
  left(queue: Queue): number;
  take(queue: Queue, tasks: number): void;
}

export interface Limit {
  readonly of: 'user' | 'project';
  readonly key: string;
  readonly most: number;
}

export function limitsOf({ owner, ownerLimit, projectId, projectLimit }: Queue): Limit[] {
  return [
    ...(ownerLimit === null ? [] : [{ of: 'user' as const, key: `user ${owner}`, most: ownerLimit }]),
    ...(projectLimit === null ? [] : [{ of: 'project' as const, key: `project ${projectId}`, most: projectLimit }]),
  ];
}

/**
 * For claims. Until the end of the transaction nobody else claims under the same limits: what runs is counted once
 * nobody can add to it. To be called once in a transaction, so that two cannot lock each other out; what has a limit and
 * was not among these queues has nothing left.
 */
export async function openAllowance(db: Db, queues: readonly Queue[]): Promise<Allowance> {
  const keys = [...new Set(queues.flatMap((queue) => limitsOf(queue).map(({ key }) => key)))].sort();
  if (db.dialect === 'postgres')
    for (const key of keys)
      await db.rows(sql`select pg_advisory_xact_lock(hashtextextended(cast(${key} as text), 13))`);
  return readAllowance(db, queues);
}

/** For those who only look. */
export async function readAllowance(db: Db, queues: readonly Queue[]): Promise<Allowance> {
  const limited = queues.filter((queue) => limitsOf(queue).length > 0);
  const left = new Map(limited.flatMap((queue) => limitsOf(queue).map(({ key, most }) => [key, most] as const)));
  for (const [key, n] of await runningOf(db, limited)) left.set(key, (left.get(key) ?? 0) - n);
  return {
    left: (queue) =>
      limitsOf(queue).reduce((least, { key }) => Math.min(least, left.get(key) ?? 0), Number.POSITIVE_INFINITY),
    take(queue, tasks) {
      for (const { key } of limitsOf(queue)) left.set(key, (left.get(key) ?? 0) - tasks);
    },
  };
}

/** How many tasks run of each owner and project that has a limit: what is added up, and what is not yet. */
export async function runningOf(db: Db, limited: readonly Queue[]): Promise<Map<string, number>> {
  const owners = limited.filter(({ ownerLimit }) => ownerLimit !== null).map(({ owner }) => owner);
  const projects = limited.filter(({ projectLimit }) => projectLimit !== null).map(({ projectId }) => projectId);
  const running = new Map<string, number>();
  for (const [owner, n] of await runningOfOwners(db, owners)) running.set(`user ${owner}`, n);
  for (const [project, n] of await runningOfProjects(db, projects)) running.set(`project ${project}`, n);
  return running;
}

async function runningOfOwners(db: Db, owners: readonly string[]): Promise<Array<[string, number]>> {
  if (owners.length === 0) return [];
  const given = db.table({ m_owner: ['text', [...new Set(owners)]] });
  const rows = await db.rows<{ owner: string; n: number }>(sql`select owner, sum(n) as n from (
      select owner, tasks as n from owner_usage where owner in (select m_owner from ${given} as a)
      union all
      select q.owner, d.n from count_deltas d join queues q on q.id = d.queue_id join projects p on p.id = q.project_id
        where p.peer_id is null and p.name <> 'pilots' and q.owner in (select m_owner from ${given} as b)
    ) as both_kinds group by owner`);
  return rows.map(({ owner, n }) => [owner, Number(n)]);
}

async function runningOfProjects(db: Db, projects: readonly number[]): Promise<Array<[number, number]>> {
  if (projects.length === 0) return [];
  const given = db.table({ m_id: ['bigint', [...new Set(projects)]] });
  const rows = await db.rows<{ project_id: number; n: number }>(sql`select project_id, sum(n) as n from (
      select project_id, n from state_counts where submission_id = 0 and state = 'running' and project_id in (select m_id from ${given} as a)
      union all
      select project_id, n from count_deltas where state = 'running' and project_id in (select m_id from ${given} as b)
    ) as both_kinds group by project_id`);
  return rows.map(({ project_id: project, n }) => [project, Number(n)]);
}
