import { recordDeltas } from '../counts.ts';
import { type Db, firstRow } from '../db.ts';
import { named } from '../dump/catalog.ts';
import type { Row } from '../dump/snapshot.ts';
import { toRecord } from '../dump/to-record.ts';
import { joinSql, type Sql, sql } from '../sql.ts';
import { IMPORTING, type ProjectRow } from './projects.ts';
import { queueOf } from './submissions.ts';
import { renameInTokens } from './token-projects.ts';

/**
 * A project that is brought in is a project with a name that nobody can ask for, and submissions that are still loading:
 * nobody sees it. It gets its name when all is there; one that was given up goes in parts, like what was never completed.
 */
export async function beginImport(
  db: Db,
  input: { id: string; owner: string; quotaBytes: number | null; forMs: number },
): Promise<number> {
  const row = await firstRow<{ id: number }>(
    db,
    sql`insert into projects (name, owner, created_at, quota_bytes)
    values (${IMPORTING + input.id}, ${input.owner}, ${db.now}, ${input.quotaBytes}) returning id`,
  );
  const projectId = row?.id as number;
  await db.run(sql`insert into holds (id, kind, project_id, who, since, held_until)
    values (${input.id}, 'import', ${projectId}, ${input.owner}, ${db.now}, ${db.now + input.forMs})`);
  return projectId;
}

export async function findImported(db: Db, input: { name: string }): Promise<ProjectRow | null> {
  return (await firstRow<ProjectRow>(db, sql`select * from projects where name = ${input.name}`)) ?? null;
}

/** Projects whose import nobody goes on with. */
export async function abandonedImports(db: Db): Promise<number[]> {
  const rows = await db.rows<{ id: number }>(sql`select p.id from projects p where p.name like ${`${IMPORTING}%`}
    and not exists (select 1 from holds h where h.project_id = p.id and h.kind = 'import' and h.held_until >= ${db.now})`);
  return rows.map(({ id }) => id);
}

/** New numbers for rows that are to come, ascending. */
export async function takeNumbers(
  db: Db,
  input: { table: 'submissions' | 'jobs' | 'services'; count: number },
): Promise<number[]> {
  const { table, count } = input;
  if (db.dialect === 'postgres') {
    const rows = await db.rows<{ n: number }>(
      sql`select nextval(pg_get_serial_sequence(${table}, 'id')) as n from generate_series(1, ${count}::int) order by 1`,
    );
    return rows.map(({ n }) => n);
  }
  await db.run(sql`insert into sqlite_sequence (name, seq) select ${table}, 0
    where not exists (select 1 from sqlite_sequence where name = ${table})`);
  const row = await firstRow<{ seq: number }>(
    db,
    sql`update sqlite_sequence set seq = seq + ${count} where name = ${table} returning seq`,
  );
  const last = row?.seq as number;
  return Array.from({ length: count }, (_, i) => last - count + 1 + i);
}

/** To be said before the first row, and durable before it. False: it was said before, or the import is over. */
export async function beginImportRows(db: Db, input: { id: string; forMs: number }): Promise<boolean> {
  const begun = await db.run(sql`update holds set rows_at = ${db.now}, held_until = ${db.now + input.forMs}
    where id = ${input.id} and kind = 'import' and rows_at is null and held_until >= ${db.now}`);
  return begun > 0;
}

export async function importQueue(db: Db, input: { projectId: number; owner: string; shape: string }): Promise<number> {
  return queueOf(db, input.projectId, input.owner, input.shape);
}

/** Rows that were looked at and renumbered. False: the import is over. A column `sequence` is given here. */
export async function insertImported(
  db: Db,
  input: { id: string; table: string; columns: readonly string[]; rows: readonly Row[]; forMs: number },
): Promise<boolean> {
  const { table, columns, rows } = input;
  const held = await db.run(
    sql`update holds set held_until = ${db.now + input.forMs} where id = ${input.id} and kind = 'import' and held_until >= ${db.now}`,
  );
  if (held === 0) return false;
  const given = columns.filter((column) => column !== 'sequence');
  const names = given.length === columns.length ? named(...given) : sql`${named(...given)}, sequence`;
  const values = given.length === columns.length ? EVERY : sql`, ${db.nextSequence}`;
  await db.run(sql`insert into ${named(table)} (${names}) select ${fromJson(db, table, given, rows, values)}`);
  return true;
}

const EVERY: Sql = sql``;

function fromJson(db: Db, table: string, columns: readonly string[], rows: readonly Row[], more: Sql): Sql {
  if (db.dialect === 'postgres') {
    const records = JSON.stringify(rows.map((row) => toRecord(columns, row)));
    return sql`${named(...columns)} ${more} from json_populate_recordset(null::${named(table)}, ${records}::json)`;
  }
  const values = joinSql(
    columns.map((_, i): Sql => ({ texts: [`value ->> ${i}`], values: [] })),
    sql`, `,
  );
  return sql`${values} ${more} from json_each(${JSON.stringify(rows)})`;
}

export type FinishResult =
  | { readonly kind: 'done'; readonly tasks: number; readonly jobs: number; readonly documents: number }
  | { readonly kind: 'over' }
  | { readonly kind: 'taken' }
  | { readonly kind: 'missing'; readonly digest: string };

/** All is there: from here on it is a project like any other. */
export async function finishImport(
  db: Db,
  input: { id: string; projectId: number; name: string; lost: readonly string[] },
): Promise<FinishResult> {
  const { projectId, name } = input;
  const hold = await firstRow(
    db,
    sql`select id from holds where id = ${input.id} and held_until >= ${db.now} ${db.lock.rows}`,
  );
  if (!hold) return { kind: 'over' };
  if (await firstRow(db, sql`select id from projects where name = ${name}`)) return { kind: 'taken' };
  const missing = await missingFile(db, projectId, input.lost);
  if (missing !== undefined) return { kind: 'missing', digest: missing };
  const tasks = await openAll(db, projectId);
  await db.run(sql`update projects set name = ${name}, created_at = ${db.now} where id = ${projectId}`);
  // Tokens that say this name mean one that was there before.
  await renameInTokens(db, name, null);
  await db.run(sql`delete from holds where id = ${input.id}`);
  const count = async (of: Sql): Promise<number> => Number((await firstRow<{ n: number }>(db, of))?.n ?? 0);
  return {
    kind: 'done',
    tasks,
    jobs: await count(sql`select count(*) as n from jobs where project_id = ${projectId}`),
    documents: await count(sql`select count(*) as n from documents where project_id = ${projectId}`),
  };
}

/** Something that is referred to and was not brought; what was lost before is not referred to any more. */
async function missingFile(db: Db, projectId: number, lost: readonly string[]): Promise<string | undefined> {
  for (const table of [sql`blob_uses`, sql`checkpoint_blobs`, sql`document_blobs`, sql`job_blobs`]) {
    for (const digest of lost)
      await db.run(sql`delete from ${table} where project_id = ${projectId} and digest = ${digest}`);
    const row = await firstRow<{ digest: string }>(
      db,
      sql`select r.digest from ${table} r where r.project_id = ${projectId}
        and not exists (select 1 from blobs b where b.project_id = r.project_id and b.digest = r.digest) limit 1`,
    );
    if (row) return row.digest;
  }
  return undefined;
}

/** Counts come from the rows that are there, whatever the archive said. Returns how many tasks there are. */
async function openAll(db: Db, projectId: number): Promise<number> {
  const counts = await db.rows<{ submissionId: number; state: 'succeeded' | 'failed' | 'cancelled'; n: number }>(
    sql`select t.submission_id as "submissionId", t.state, count(*) as n from tasks t join submissions s on s.id = t.submission_id
      where s.project_id = ${projectId} group by t.submission_id, t.state`,
  );
  await db.run(sql`update submissions set
      tasks = (select count(*) from tasks t where t.submission_id = submissions.id),
      waiting_for = (select count(*) from dependencies d where d.submission_id = submissions.id and d.done = 0),
      has_dependents = case when exists (select 1 from dependencies d where d.on_submission = submissions.id) then 1 else 0 end
    where project_id = ${projectId}`);
  await db.run(sql`update submissions set gate = case when waiting_for > 0 then 'waiting' else 'open' end,
      waiting_since = ${db.now}, opened = ${db.nextSequence} where project_id = ${projectId}`);
  await recordDeltas(
    db,
    counts.map((count) => ({ ...count, projectId })),
  );
  return counts.reduce((sum, { n }) => sum + n, 0);
}

const CHUNK = 5000;

/** Removes a part of an import that was given up. False: all of it is gone. */
export async function dropImport(db: Db, input: { projectId: number }): Promise<boolean> {
  const { projectId: id } = input;
  const project = sql`select id from projects where id = ${id} and name like ${`${IMPORTING}%`}`;
  if (!(await firstRow(db, project))) return false;
  await db.run(sql`delete from holds where project_id = ${id} and kind = 'import'`);
  // These are removed like submissions that were never completed.
  await db.run(sql`update submissions set waiting_since = 0 where project_id = ${id} and waiting_since <> 0`);
  if (await firstRow(db, sql`select id from submissions where project_id = ${id} limit 1`)) return true;
  if (await removeJobs(db, id)) return true;
  for (const [table, key] of BY_PROJECT) {
    const some = sql`select ${key} from ${table} where project_id = ${id} limit ${CHUNK}`;
    if ((await db.run(sql`delete from ${table} where project_id = ${id} and ${key} in (${some})`)) > 0) return true;
  }
  await db.run(sql`update blobs set held_until = ${db.now} where project_id = ${id} and held_until > ${db.now}`);
  await db.run(sql`delete from projects where id = ${id}`);
  return false;
}

const BY_PROJECT: readonly (readonly [table: Sql, key: Sql])[] = [
  [sql`document_blobs`, sql`digest`],
  [sql`documents`, sql`id`],
  [sql`tree_entries`, sql`parent`],
  [sql`trees`, sql`digest`],
  [sql`services`, sql`id`],
  [sql`queues`, sql`id`],
];

async function removeJobs(db: Db, projectId: number): Promise<boolean> {
  const rows = await db.rows<{ id: number }>(sql`select id from jobs where project_id = ${projectId} limit ${CHUNK}`);
  if (rows.length === 0) return false;
  const given = db.table({ m_id: ['bigint', rows.map(({ id }) => id)] });
  for (const table of [sql`service_jobs`, sql`job_entries`, sql`job_blobs`, sql`job_logs`])
    await db.run(sql`delete from ${table} where job_id in (select m_id from ${given} as given)`);
  await db.run(sql`delete from jobs where id in (select m_id from ${given} as given)`);
  return true;
}
