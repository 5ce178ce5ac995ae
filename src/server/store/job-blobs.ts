import type { Db } from './db.ts';
import { sql } from './sql.ts';

/** Bytes that a service's job came with, or that people may fetch of it. They stay as long as this says so. */
export interface JobBlobs {
  readonly projectId: number;
  readonly jobId: number;
  readonly kind: 'input' | 'result';
  readonly digests: readonly string[];
}

export async function keepJobBlobs(db: Db, { projectId, jobId, kind, digests }: JobBlobs): Promise<void> {
  const given = db.table({ m_digest: ['text', [...new Set(digests)].sort()] });
  await db.run(sql`insert into job_blobs (project_id, digest, job_id, kind)
    select cast(${projectId} as bigint), m_digest, cast(${jobId} as bigint), cast(${kind} as text) from ${given} as given where true
    on conflict do nothing`);
}

/** What only this job needed goes when the grace time is over. */
export async function dropJobBlobs(db: Db, { jobId, kind }: Pick<JobBlobs, 'jobId' | 'kind'>): Promise<void> {
  await db.run(sql`delete from job_blobs where job_id = ${jobId} and kind = ${kind}`);
}
