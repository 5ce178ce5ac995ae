import type { Db } from '../db.ts';
import { sql } from '../sql.ts';
import type { TaskRow } from '../task-rows.ts';
import type { StoredReport } from './stored-report.ts';

export type IsHere = (projectId: number, digest: string) => boolean;

/** Which of the files that reports name their projects have. They stay until this is committed. */
export async function filesHere(
  db: Db,
  tasks: ReadonlyMap<string, TaskRow>,
  reports: readonly StoredReport[],
): Promise<IsHere> {
  const keys = reports.flatMap(({ submission, idx, digests }) => {
    const task = tasks.get(`${submission}.${idx}`);
    return task ? digests.map((digest) => ({ projectId: task.project_id, digest })) : [];
  });
  if (keys.length === 0) return () => false;
  const given = db.table({
    m_project: ['bigint', keys.map((key) => key.projectId)],
    m_digest: ['text', keys.map((key) => key.digest)],
  });
  const lock = db.dialect === 'postgres' ? sql`for key share` : sql``;
  const rows = await db.rows<{ project_id: number; digest: string }>(sql`select project_id, digest from blobs
    where (project_id, digest) in (select m_project, m_digest from ${given} as given) ${lock}`);
  const here = new Set(rows.map((row) => `${row.project_id}/${row.digest}`));
  return (projectId, digest) => here.has(`${projectId}/${digest}`);
}

/**
 * What a report names and the project does not have cannot be fetched by anybody: it went while the worker was cut off,
 * or was never brought. Without its outputs an attempt did not succeed.
 */
export function withWhatIsHere(report: StoredReport, isHere: (digest: string) => boolean): StoredReport {
  if (report.digests.every(isHere)) return report;
  const outputs = JSON.parse(report.outputs ?? '[]') as { name: string; digest: string }[];
  const left = outputs.filter((output) => isHere(output.digest));
  const gone = outputs.find((output) => !isHere(output.digest));
  const here: StoredReport = {
    ...report,
    outputs: left.length > 0 ? JSON.stringify(left) : null,
    digests: report.digests.filter(isHere),
    logs: report.logs.map((log) => (log.digest === null || isHere(log.digest) ? log : { ...log, digest: null })),
  };
  if (!gone || report.outcome !== 'succeeded') return here;
  const message = `the project has ${outputs.length - left.length} of its outputs no longer, the first is '${gone.name}' (${gone.digest}): they were removed before its report came, because the worker was away for long. 'pilotage retry ${report.submission}.${report.idx}' runs it again`;
  return { ...here, outcome: 'failed', reason: 'output-failed', message: message.slice(0, 4000) };
}

/** A report that was kept aside, as it counts now. */
export async function asItCounts(db: Db, task: TaskRow, report: StoredReport): Promise<StoredReport> {
  const isHere = await filesHere(db, new Map([[`${report.submission}.${report.idx}`, task]]), [report]);
  return withWhatIsHere(report, (digest) => isHere(task.project_id, digest));
}
