import type { Db } from '../db.ts';
import { sql } from '../sql.ts';

/**
 * Tokens name their projects, and a name may come to be another project's: what a token says follows the project of
 * which it was said. `to` null: that one is no more.
 */
export async function renameInTokens(db: Db, from: string, to: string | null): Promise<void> {
  const rows = await db.rows<{ id: number; projects: string }>(
    sql`select id, projects from tokens where projects is not null order by id ${db.lock.rows}`,
  );
  for (const { id, projects } of rows) {
    const names = JSON.parse(projects) as string[];
    if (!names.includes(from)) continue;
    const left = names.flatMap((name) => (name === from ? (to ?? []) : name));
    await db.run(sql`update tokens set projects = ${JSON.stringify(left)} where id = ${id}`);
  }
}
