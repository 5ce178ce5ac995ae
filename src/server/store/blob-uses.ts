import type { Db } from './db.ts';
import { sql } from './sql.ts';

/** A submission refers to a blob: by an input, an output or a log. It is kept until the submission is forgotten. */
export interface BlobUse {
  readonly projectId: number;
  readonly submissionId: number;
  readonly digest: string;
}

export async function recordUses(db: Db, uses: readonly BlobUse[]): Promise<void> {
  if (uses.length === 0) return;
  const keys = new Map(uses.map((use) => [`${use.submissionId}/${use.digest}`, use]));
  // In one order everywhere: two servers that write the same keys wait for each other in turn.
  const ordered = [...keys.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, use]) => use);
  const given = db.table({
    u_project: ['bigint', ordered.map((use) => use.projectId)],
    u_digest: ['text', ordered.map((use) => use.digest)],
    u_submission: ['bigint', ordered.map((use) => use.submissionId)],
  });
  await db.run(sql`insert into blob_uses (project_id, digest, submission_id)
    select u_project, u_digest, u_submission from ${given} as given where true on conflict do nothing`);
}
