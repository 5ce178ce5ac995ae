import { countsOfProjects } from '../counts.ts';
import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';

export interface ProjectRow {
  readonly id: number;
  readonly name: string;
  readonly owner: string;
  readonly created_at: number;
}

/** Makes a project unless it is there. `made` says which. */
export async function createProject(
  db: Db,
  input: { name: string; owner: string },
): Promise<ProjectRow & { made: boolean }> {
  const made = await db.run(
    sql`insert into projects (name, owner, created_at) values (${input.name}, ${input.owner}, ${db.now}) on conflict (name) do nothing`,
  );
  const row = await firstRow<ProjectRow>(db, sql`select * from projects where name = ${input.name}`);
  return { ...(row as ProjectRow), made: made > 0 };
}

export async function listProjects(db: Db): Promise<ProjectRow[]> {
  return db.rows<ProjectRow>(sql`select * from projects order by name`);
}

export async function countByProject(db: Db): Promise<Array<{ projectId: number; counts: Record<string, number> }>> {
  return [...(await countsOfProjects(db))].map(([projectId, counts]) => ({ projectId, counts }));
}

export async function countSubmissions(db: Db, input: { projectId: number | null }): Promise<number> {
  const where = input.projectId === null ? sql`` : sql`where project_id = ${input.projectId}`;
  const row = await firstRow<{ n: number }>(db, sql`select count(*) as n from submissions ${where}`);
  return Number(row?.n ?? 0);
}

export async function addBlob(db: Db, input: { projectId: number; digest: string; size: number }): Promise<void> {
  await db.run(
    sql`insert into blobs (project_id, digest, size, created_at) values (${input.projectId}, ${input.digest}, ${input.size}, ${db.now}) on conflict do nothing`,
  );
}

export async function findBlob(db: Db, input: { projectId: number; digest: string }): Promise<{ size: number } | null> {
  return (
    (await firstRow<{ size: number }>(
      db,
      sql`select size from blobs where project_id = ${input.projectId} and digest = ${input.digest}`,
    )) ?? null
  );
}

export async function missingBlobs(
  db: Db,
  input: { projectId: number; digests: readonly string[] },
): Promise<string[]> {
  if (input.digests.length === 0) return [];
  const given = db.table({ m_digest: ['text', input.digests] });
  const there = await db.rows<{ digest: string }>(
    sql`select digest from blobs where project_id = ${input.projectId} and digest in (select m_digest from ${given} as given)`,
  );
  const known = new Set(there.map((row) => row.digest));
  return [...new Set(input.digests)].filter((digest) => !known.has(digest));
}
