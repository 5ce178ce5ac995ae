import { recordUses } from '../blob-uses.ts';
import { recordDeltas } from '../counts.ts';
import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';
import { applyMoves, EXTRAS, type Move, TASK_ROW, type TaskRow, unique } from '../task-rows.ts';
import { queueOf } from './submissions.ts';

/** Tasks of one submission of a neighbour that came with one answer. They keep their indices. */
export interface BorrowedGroup {
  readonly peerId: string;
  /** What the project is to be called here, and where it is at home (JSON, as of the protocol's `Home` without the task). */
  readonly project: { readonly name: string; readonly home: string };
  readonly owner: string;
  readonly shapeKey: string;
  /** JSON: as the workers here get it. */
  readonly spec: string;
  readonly hasCheckpoint: boolean;
  readonly digests: readonly string[];
  readonly tasks: readonly BorrowedTask[];
  /** The secrets of the neighbour's attempts, by index, as JSON, sealed. */
  readonly sealed: string;
}

export interface BorrowedTask {
  readonly idx: number;
  readonly payload: string | null;
  readonly inputs: string | null;
  /** The neighbour's attempt that is carried out here. */
  readonly task: string;
  readonly attempt: number;
  /** JSON: what the claim brought besides (files of other tasks, checkpoints, its home if that is not the neighbour). */
  readonly facts: string;
}

/** Takes tasks of neighbours into the pool, one submission for each group. From here on they are run or given back. */
export async function borrowTasks(db: Db, input: { groups: readonly BorrowedGroup[] }): Promise<number[]> {
  const ids: number[] = [];
  for (const group of input.groups) ids.push(await borrowGroup(db, group));
  return ids;
}

async function borrowGroup(db: Db, group: BorrowedGroup): Promise<number> {
  const projectId = await borrowedProject(db, group);
  const queue = await queueOf(db, projectId, group.owner, group.shapeKey);
  const extras = EXTRAS.borrowed + (group.hasCheckpoint ? EXTRAS.checkpoint : 0);
  const row = await firstRow<{ id: number }>(
    db,
    sql`insert into submissions
      (project_id, queue_id, owner, step, created_at, priority, tasks, gate, waiting_since, spec, extras, claimable, opened)
    values (${projectId}, ${queue}, ${group.owner}, 0, ${db.now}, 0, ${group.tasks.length}, 'open', ${db.now}, ${group.spec}, ${extras}, 1, ${db.nextSequence}) returning id`,
  );
  const id = row?.id as number;
  const { tasks } = group;
  const given = db.table({
    b_idx: ['bigint', tasks.map((task) => task.idx)],
    b_payload: ['text', tasks.map((task) => task.payload)],
    b_inputs: ['text', tasks.map((task) => task.inputs)],
    b_task: ['text', tasks.map((task) => task.task)],
    b_attempt: ['bigint', tasks.map((task) => task.attempt)],
    b_facts: ['text', tasks.map((task) => task.facts)],
  });
  await db.run(sql`insert into tasks (submission_id, idx, state, payload, inputs, sequence)
    select cast(${id} as bigint), b_idx, 'queued', b_payload, b_inputs, ${db.nextSequence} from ${given} as given`);
  await db.run(sql`insert into borrowed (submission_id, idx, peer_id, task, attempt, facts, taken_at)
    select cast(${id} as bigint), b_idx, cast(${group.peerId} as text), b_task, b_attempt, b_facts, cast(${db.now} as bigint) from ${given} as given`);
  await db.run(sql`insert into borrowed_secrets (submission_id, sealed) values (${id}, ${group.sealed})`);
  await recordUses(
    db,
    group.digests.map((digest) => ({ projectId, submissionId: id, digest })),
  );
  await recordDeltas(db, [{ projectId, submissionId: id, state: 'queued', n: tasks.length }]);
  return id;
}

/** One project for each project of a neighbour and way that it came by. */
async function borrowedProject(db: Db, { peerId, project, owner }: BorrowedGroup): Promise<number> {
  const known = await firstRow<{ id: number }>(
    db,
    sql`select id from projects where peer_id = ${peerId} and home = ${project.home}`,
  );
  if (known) return known.id;
  for (let i = 1; ; i += 1) {
    const name = i === 1 ? project.name : `${project.name}+${i}`;
    const made = await firstRow<{ id: number }>(
      db,
      sql`insert into projects (name, owner, created_at, peer_id, home) values (${name}, ${owner}, ${db.now}, ${peerId}, ${project.home})
      on conflict (name) do nothing returning id`,
    );
    if (made) return made.id;
  }
}

export interface BorrowedRow {
  readonly submission_id: number;
  readonly idx: number;
  readonly peer_id: string;
  readonly task: string;
  readonly attempt: number;
  readonly facts: string;
  readonly project: string;
}

/** All that is here of a neighbour, ended or not: for a server that starts. */
export async function listBorrowed(db: Db, input: { peerId: string }): Promise<BorrowedRow[]> {
  return db.rows<BorrowedRow>(sql`select b.submission_id, b.idx, b.peer_id, b.task, b.attempt, b.facts, p.name as project
    from borrowed b join submissions s on s.id = b.submission_id join projects p on p.id = s.project_id
    where b.peer_id = ${input.peerId} order by b.submission_id, b.idx`);
}

/** Which of these tasks are borrowed, and from whom. `home`: JSON, of the project. */
export async function findBorrowed(
  db: Db,
  input: { keys: readonly { submission: number; idx: number }[] },
): Promise<Array<BorrowedRow & { home: string }>> {
  if (input.keys.length === 0) return [];
  const given = keyTable(db, input.keys);
  return db.rows(sql`select b.submission_id, b.idx, b.peer_id, b.task, b.attempt, b.facts, p.name as project, p.home
    from borrowed b join submissions s on s.id = b.submission_id join projects p on p.id = s.project_id
    where (b.submission_id, b.idx) in (select m_submission, m_idx from ${given} as given)`);
}

/** The secrets of the neighbour's attempts of these submissions, by index, sealed. */
export async function sealedSecrets(
  db: Db,
  input: { submissions: readonly number[] },
): Promise<Array<{ submission_id: number; sealed: string }>> {
  const given = db.table({ m_id: ['bigint', unique(input.submissions)] });
  return db.rows(
    sql`select submission_id, sealed from borrowed_secrets where submission_id in (select m_id from ${given} as given)`,
  );
}

function keyTable(db: Db, keys: readonly { submission: number; idx: number }[]) {
  return db.table({
    m_submission: ['bigint', keys.map((key) => key.submission)],
    m_idx: ['bigint', keys.map((key) => key.idx)],
  });
}

/** How a borrowed task ended here; `outcome` and what follows are of its last attempt, null where there was none. */
export interface EndedRow {
  readonly submission_id: number;
  readonly idx: number;
  readonly project: string;
  readonly task: string;
  readonly attempt: number;
  readonly state: 'succeeded' | 'failed' | 'cancelled';
  readonly reason: string | null;
  readonly exit_code: number | null;
  readonly local_attempt: number;
  readonly outcome: string | null;
  readonly signal: string | null;
  readonly message: string | null;
  readonly started_at: number | null;
  readonly wall_seconds: number | null;
  readonly cpu_seconds: number | null;
  readonly peak_memory: number | null;
  readonly outputs: string | null;
  readonly result: string | null;
}

export interface EndedLog {
  readonly submission_id: number;
  readonly idx: number;
  readonly attempt: number;
  readonly stream: 'stdout' | 'stderr';
  readonly start_offset: number;
  readonly data: string | null;
  readonly digest: string | null;
  readonly size: number;
}

export interface EndedTasks {
  readonly ended: EndedRow[];
  /** Their output. */
  readonly logs: EndedLog[];
}

const ENDED = sql`b.submission_id, b.idx, p.name as project, b.task, b.attempt, t.state, t.reason, t.exit_code,
  t.attempt as local_attempt, a.outcome, a.signal, a.message, a.started_at, a.wall_seconds, a.cpu_seconds, a.peak_memory, a.outputs, a.result`;
const OF_ENDED = sql`join submissions s on s.id = b.submission_id join projects p on p.id = s.project_id
  left join attempts a on a.submission_id = t.submission_id and a.idx = t.idx and a.attempt = t.attempt`;
const HAS_ENDED = sql`t.state in ('succeeded', 'failed', 'cancelled')`;

/** All borrowed tasks that ended, those that are reported just now among them. `upTo`: `endedSince` may begin after it. */
export async function endedBorrowed(
  db: Db,
  { peerId }: { peerId: string },
): Promise<{ upTo: number; ended: Array<{ submission: number; idx: number }> }> {
  const upTo = await lastSequence(db);
  const ended = await db.rows<{ submission: number; idx: number }>(sql`select b.submission_id as submission, b.idx
    from borrowed b cross join tasks t where t.submission_id = b.submission_id and t.idx = b.idx and ${HAS_ENDED} and b.peer_id = ${peerId}
    order by b.submission_id, b.idx`);
  return { upTo, ended };
}

/**
 * The first borrowed tasks that ended after that number of change. `upTo`: the next look may begin after it. Where several
 * servers write, a lower number may show later: `endedBorrowed` misses nothing.
 */
export async function endedSince(
  db: Db,
  { peerId, after, most }: { peerId: string; after: number; most: number },
): Promise<EndedTasks & { upTo: number; ended: Array<EndedRow & { sequence: number }> }> {
  const upTo = Math.max(after, await lastSequence(db));
  if (after === upTo) return { upTo, ended: [], logs: [] };
  // What changed is few, and comes first: SQLite joins in the order in which it is written.
  const ended = await db.rows<
    EndedRow & { sequence: number }
  >(sql`select ${ENDED}, t.sequence from tasks t cross join borrowed b ${OF_ENDED}
    where t.submission_id = b.submission_id and t.idx = b.idx and t.sequence > ${after} and ${HAS_ENDED} and b.peer_id = ${peerId}
    order by t.sequence limit ${most}`);
  const last = ended.length < most ? upTo : Number(ended.at(-1)?.sequence);
  return { upTo: last, ended, logs: await logsOf(db, ended) };
}

/** How these ended. */
export async function readEnded(
  db: Db,
  input: { keys: readonly { submission: number; idx: number }[] },
): Promise<EndedTasks> {
  const wanted = keyTable(db, input.keys);
  const ended =
    await db.rows<EndedRow>(sql`select ${ENDED} from borrowed b join tasks t on t.submission_id = b.submission_id and t.idx = b.idx ${OF_ENDED}
    where (b.submission_id, b.idx) in (select m_submission, m_idx from ${wanted} as given) order by b.submission_id, b.idx`);
  return { ended, logs: await logsOf(db, ended) };
}

async function lastSequence(db: Db): Promise<number> {
  const row = await firstRow<{ last: number | null }>(db, sql`select max(sequence) as last from tasks`);
  return Number(row?.last ?? 0);
}

async function logsOf(db: Db, ended: readonly EndedRow[]): Promise<EndedLog[]> {
  if (ended.length === 0) return [];
  const given = db.table({
    m_submission: ['bigint', ended.map((row) => row.submission_id)],
    m_idx: ['bigint', ended.map((row) => row.idx)],
    m_attempt: ['bigint', ended.map((row) => row.local_attempt)],
  });
  return db.rows<EndedLog>(sql`select submission_id, idx, attempt, stream, start_offset, data, digest, size from logs
    where (submission_id, idx, attempt) in (select m_submission, m_idx, m_attempt from ${given} as given)`);
}

/** What runs of a neighbour's, and how far it is. */
export async function borrowedProgress(
  db: Db,
  input: { peerId: string },
): Promise<Array<{ submission_id: number; idx: number; progress: string | null }>> {
  return db.rows(sql`select b.submission_id, b.idx, t.progress from borrowed b
    join tasks t on t.submission_id = b.submission_id and t.idx = b.idx where b.peer_id = ${input.peerId} and t.state = 'running'`);
}

/**
 * The neighbour has what became of these: they leave the pool. `cpuMs` is what workers here spent on them. Returns
 * submissions of which nothing is left.
 */
export async function settleBorrowed(
  db: Db,
  input: { peerId: string; cpuMs: number; keys: readonly { submission: number; idx: number }[] },
): Promise<number[]> {
  const { keys, peerId, cpuMs } = input;
  if (keys.length === 0) return [];
  if (cpuMs > 0) await db.run(sql`update peers set lent_ms = lent_ms + ${Math.round(cpuMs)} where id = ${peerId}`);
  const given = keyTable(db, keys);
  await db.run(
    sql`delete from borrowed where (submission_id, idx) in (select m_submission, m_idx from ${given} as given)`,
  );
  const submissions = db.table({ m_id: ['bigint', unique(keys.map((key) => key.submission))] });
  const rows = await db.rows<{ id: number }>(sql`select m_id as id from ${submissions} as given
    where not exists (select 1 from borrowed b where b.submission_id = m_id) order by m_id`);
  const over = rows.map((row) => Number(row.id));
  const ends = db.table({ m_id: ['bigint', over] });
  await db.run(sql`delete from borrowed_secrets where submission_id in (select m_id from ${ends} as given)`);
  return over;
}

/**
 * Takes back what nobody here began with: of one neighbour all of it, or what waited for longer than `olderMs`. It ends
 * as cancelled, and is reported as given back.
 */
export async function giveBackBorrowed(db: Db, input: { peerId: string | null; olderMs: number }): Promise<number> {
  const ofPeer = input.peerId === null ? sql`` : sql`and b.peer_id = ${input.peerId}`;
  const of = db.dialect === 'postgres' ? sql`for update of t` : sql``;
  const before = db.now - input.olderMs;
  const tasks =
    await db.rows<TaskRow>(sql`select ${TASK_ROW} from borrowed b cross join tasks t join submissions s on s.id = t.submission_id
    where t.submission_id = b.submission_id and t.idx = b.idx and t.state in ('queued', 'waiting') ${ofPeer}
    and b.taken_at <= ${before} and coalesce(t.claimed_at, 0) <= ${before} order by t.submission_id, t.idx limit 1000 ${of}`);
  await applyMoves(db, tasks.map(toCancelled));
  return tasks.length;
}

function toCancelled(task: TaskRow): Move {
  return {
    task,
    state: 'cancelled',
    attemptState: task.attempt === 0 ? 'reported' : 'closed',
    failures: task.failures,
    losses: task.losses,
    plannedEnds: task.planned_ends,
  };
}

/** Submissions that were borrowed, and of which nobody wants to know anything any more. */
export async function borrowedLeftovers(db: Db): Promise<number[]> {
  const rows = await db.rows<{ id: number }>(sql`select s.id from projects p cross join submissions s
    where s.project_id = p.id and p.peer_id is not null and s.gate <> 'loading' and not exists (select 1 from borrowed b where b.submission_id = s.id)
    order by s.id limit 1000`);
  return rows.map((row) => Number(row.id));
}

/** How much of each neighbour's is here and has not ended, by what it asks for. */
export async function borrowedLoad(
  db: Db,
): Promise<Array<{ peer_id: string; key: string; queued: number; running: number }>> {
  return db.rows(sql`select b.peer_id, sh.key, sum(case when t.state = 'queued' then 1 else 0 end) as queued, sum(case when t.state = 'running' then 1 else 0 end) as running
    from borrowed b join tasks t on t.submission_id = b.submission_id and t.idx = b.idx
    join submissions s on s.id = b.submission_id join queues q on q.id = s.queue_id join shapes sh on sh.id = q.shape_id
    where t.state in ('waiting', 'queued', 'running') group by b.peer_id, sh.key`);
}

/** The sessions that run something of a neighbour's: all of it is cancelled, because the trust is over. */
export async function endBorrowed(db: Db, input: { peerId: string }): Promise<string[]> {
  const of = db.dialect === 'postgres' ? sql`for update of t` : sql``;
  const tasks =
    await db.rows<TaskRow>(sql`select ${TASK_ROW} from borrowed b join tasks t on t.submission_id = b.submission_id and t.idx = b.idx
    join submissions s on s.id = t.submission_id where b.peer_id = ${input.peerId} and t.state in ('waiting', 'queued', 'running')
    order by t.submission_id, t.idx ${of}`);
  await applyMoves(db, tasks.map(toCancelled));
  await db.run(
    sql`delete from borrowed_secrets where submission_id in (select submission_id from borrowed where peer_id = ${input.peerId})`,
  );
  await db.run(sql`delete from borrowed where peer_id = ${input.peerId}`);
  return [
    ...new Set(
      tasks.flatMap((task) => (task.session_id === null || task.state !== 'running' ? [] : [task.session_id])),
    ),
  ];
}
