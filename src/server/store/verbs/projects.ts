import { countsOfProjects } from '../counts.ts';
import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';
import { type AuditEntry, keepAudit } from './audit.ts';
import { renameInTokens } from './token-projects.ts';

/** How the name of a project begins that is being imported. */
export const IMPORTING = '@import/';

export interface ProjectRow {
  readonly id: number;
  readonly name: string;
  readonly owner: string;
  readonly created_at: number;
  readonly quota_bytes: number | null;
  /** So many of its tasks may run at once. */
  readonly running_limit: number | null;
  /** JSON: who may enter it as a database of the CouchDB face, beside administrators. */
  readonly security: string | null;
  readonly max_lock_ms: number | null;
  readonly max_scrubs: number | null;
  /** Set where its tasks are borrowed from a neighbour; `home` (JSON) says what it is there. */
  readonly peer_id: string | null;
  readonly home: string | null;
}

/** Makes a project unless it is there. `made` says which. */
export async function createProject(
  db: Db,
  input: { name: string; owner: string; audit?: AuditEntry },
): Promise<ProjectRow & { made: boolean }> {
  const made = await db.run(
    sql`insert into projects (name, owner, created_at) values (${input.name}, ${input.owner}, ${db.now}) on conflict (name) do nothing`,
  );
  if (made > 0) {
    // Tokens that say this name mean one that was there before.
    await renameInTokens(db, input.name, null);
    await keepAudit(db, input.audit);
  }
  const row = await firstRow<ProjectRow>(db, sql`select * from projects where name = ${input.name}`);
  return { ...(row as ProjectRow), made: made > 0 };
}

/** All but those that are being imported: nobody sees them before they are whole. */
export async function listProjects(db: Db): Promise<ProjectRow[]> {
  return db.rows<ProjectRow>(sql`select * from projects where name not like ${`${IMPORTING}%`} order by name`);
}

export async function countByProject(db: Db): Promise<Array<{ projectId: number; counts: Record<string, number> }>> {
  return [...(await countsOfProjects(db))].map(([projectId, counts]) => ({ projectId, counts }));
}

export async function countSubmissions(db: Db, input: { projectId: number | null }): Promise<number> {
  const where = input.projectId === null ? sql`` : sql`where project_id = ${input.projectId}`;
  const row = await firstRow<{ n: number }>(db, sql`select count(*) as n from submissions ${where}`);
  return Number(row?.n ?? 0);
}
