import { type Sql, sql } from '../sql.ts';

/** A table with rows of projects, and which of them belong to one. In the order in which they can be brought in. */
export interface ProjectTable {
  readonly table: string;
  readonly where: (projectId: number) => Sql;
}

const byProject = (id: number): Sql => sql`project_id = ${id}`;
/** A submission that is not complete, or was forgotten, is nobody's. */
const submissionsOf = (id: number): Sql =>
  sql`select id from submissions where project_id = ${id} and gate <> 'loading'`;
const bySubmission = (id: number): Sql => sql`submission_id in (${submissionsOf(id)})`;
const jobsOf = (id: number): Sql => sql`select id from jobs where project_id = ${id}`;
const byJob = (id: number): Sql => sql`job_id in (${jobsOf(id)})`;
const queuesOf = (id: number): Sql => sql`select shape_id from queues where project_id = ${id}`;

export const PROJECT_TABLES: readonly ProjectTable[] = [
  { table: 'shapes', where: (id) => sql`id in (${queuesOf(id)})` },
  { table: 'queues', where: byProject },
  { table: 'submissions', where: (id) => sql`id in (${submissionsOf(id)}) order by id` },
  { table: 'dependencies', where: bySubmission },
  { table: 'tasks', where: bySubmission },
  { table: 'attempts', where: bySubmission },
  { table: 'logs', where: bySubmission },
  { table: 'blob_uses', where: bySubmission },
  { table: 'trees', where: byProject },
  { table: 'checkpoints', where: bySubmission },
  { table: 'checkpoint_blobs', where: bySubmission },
  { table: 'services', where: byProject },
  { table: 'jobs', where: (id) => sql`project_id = ${id} order by id` },
  { table: 'job_entries', where: byJob },
  { table: 'service_jobs', where: byJob },
  { table: 'job_blobs', where: byProject },
  { table: 'job_logs', where: byJob },
  // What stands for a task that has no document of its own is made again where it is.
  { table: 'documents', where: (id) => sql`project_id = ${id} and deleted = 0 and id not like 'pilotage:%'` },
  { table: 'document_blobs', where: byProject },
];

/** Tables that name projects, submissions, jobs or services and are not exported, and why. */
export const NOT_EXPORTED: Readonly<Record<string, string>> = {
  state_counts: 'counted anew',
  count_deltas: 'counted anew',
  blobs: 'the files themselves are in the export; where they arrive they are taken in like any other',
  tree_entries: 'found out anew from the directories, which are files',
  project_usage: 'counted anew',
  members: 'who may enter is said at the server where it is',
  borrowed: 'tasks of neighbours, which have them',
  borrowed_secrets: 'of tasks of neighbours',
  pilots: 'workers of the server at its sites: they are its own business',
  late_reports: 'what was refused belongs to workers of the server where the tasks ran',
  late_records: 'what was refused belongs to workers of the server where the jobs ran',
  service_waits: 'what waits for each other is not under way any more in an import',
  letters: 'mails were sent, or are sent, by the server where the jobs ran',
  holds: 'what is under way at this server',
};
