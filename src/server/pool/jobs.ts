import { createHash, randomUUID } from 'node:crypto';
import { PilotageError } from '../../ground/base/errors.ts';
import type { JobState } from '../../ground/base/job-state.ts';
import { formatTaskId } from '../../ground/base/task-id.ts';
import { type Principal, requireScope } from '../access/principal.ts';
import type { SitePhase } from '../core/job.ts';
import type { JobDetailRow, JobRow } from '../store/verbs/jobs.ts';
import { type RecordedJob as StoredJob, stateOf } from '../store/verbs/merge-record.ts';
import { toNewSubmission } from './new-submission.ts';
import type { Parts } from './parts.ts';
import { projectOf } from './projects.ts';
import { requestKey } from './request-key.ts';
import { serviceJobFacts } from './service-jobs.ts';
import type { SpecFacts } from './step-facts.ts';
import { requireFiles } from './trees.ts';
import { time, timeOrNull } from './views.ts';

export interface JobRequestFacts {
  readonly name?: string | undefined;
  readonly requestId?: string | undefined;
  readonly spec: SpecFacts;
}

/** A record as it comes from the wire; see the protocol for what the fields mean. */
export interface RecordFacts {
  readonly project: { readonly uid: string };
  readonly jobs: readonly {
    readonly uid: string;
    readonly parent: string | null;
    readonly number: string;
    readonly name: string | null;
    readonly owner: string;
    readonly state: JobState;
    readonly reason?: string | undefined;
    readonly command?: readonly string[] | undefined;
    readonly createdAt: string;
    readonly startedAt?: string | undefined;
    readonly finishedAt?: string | undefined;
    readonly entries: readonly { readonly id: string; readonly kind: string }[];
  }[];
}

/** A job and the task that it runs as, both or none of them. */
export async function createJob(parts: Parts, who: Principal, project: string, request: JobRequestFacts) {
  requireScope(who, 'submit');
  const { id } = await projectOf(parts, who, project);
  const { spec } = request;
  if (!spec.site)
    throw new PilotageError(
      'bad-spec',
      "a job says where it is to run ('site'): 'pilotage site list' shows your sites",
    );
  if (!spec.command) throw new PilotageError('bad-spec', 'a job at a site needs a command: nothing was started');
  await requireFiles(parts, id, spec.inputs ?? []);
  const uid = randomUUID();
  const step = { spec, ...(request.name === undefined ? {} : { name: request.name }) };
  const made = await parts.store.createJob({
    uid,
    entries: inputEntries(uid, spec),
    name: request.name ?? null,
    site: spec.site.name,
    command: JSON.stringify(spec.command),
    submission: {
      projectId: id,
      owner: who.name,
      requestId: `job:${requestKey(who, id, request.requestId)}`,
      open: false,
      steps: [toNewSubmission(step, { steps: [step] }, 0)],
    },
  });
  if (!made.ok) throw new PilotageError('not-found', 'what this job comes after is not there: nothing was started');
  parts.dirty();
  parts.signals.queued();
  return viewOfJob(await jobRow(parts, id, made.number));
}

/** What a job reads is part of its record from the start. */
function inputEntries(uid: string, { inputs = [], site }: SpecFacts) {
  const files = inputs.map(({ name, digest }) => ({ path: name, digest }));
  const shared = (site?.inputs ?? []).map((path) => ({ path }));
  return [...files, ...shared].map((file, at) => {
    const id = `${uid}-input-${at}`;
    return { id, kind: 'file', body: JSON.stringify({ kind: 'file', id, role: 'input', ...file }) };
  });
}

export async function listJobs(
  parts: Parts,
  who: Principal,
  project: string,
  page: {
    readonly limit?: number | undefined;
    readonly after?: string | undefined;
    readonly service?: string | undefined;
    readonly state?: string | undefined;
  },
) {
  requireScope(who, 'read');
  const { id } = await projectOf(parts, who, project);
  const limit = page.limit ?? 100;
  const before = page.after !== undefined && /^\d{1,15}$/.test(page.after) ? Number(page.after) : null;
  const rows = await parts.store.listJobs({
    projectId: id,
    before,
    limit,
    service: page.service ?? null,
    states: page.state?.split(',') ?? null,
  });
  return { jobs: rows.map(viewOfJob), next: rows.length === limit ? String(rows.at(-1)?.id) : null };
}

export async function getJob(parts: Parts, who: Principal, project: string, number: string) {
  requireScope(who, 'read');
  const { id, name } = await projectOf(parts, who, project);
  const row = await jobRow(parts, id, number);
  return {
    ...viewOfJob(row),
    command: row.command === null ? null : JSON.parse(row.command),
    message: row.message,
    entries: row.entries.map((body) => JSON.parse(body)),
    jobs: row.jobs.map(viewOfJob),
    serviceJob: row.service === null ? null : await serviceJobFacts(parts, { id, name }, number),
    late: row.late.map(({ received_at: at, record }) => ({ receivedAt: time(at), entries: JSON.parse(record).length })),
  };
}

/** Asks the agents of running jobs to look at their processes, and tells what they saw last. */
export async function jobProcesses(parts: Parts, who: Principal, project: string) {
  requireScope(who, 'read');
  const { id } = await projectOf(parts, who, project);
  const rows = await parts.store.runningJobs({ projectId: id });
  for (const { submission_id: submission } of rows) {
    const session = await parts.store.followTask({ submission: submission ?? 0, idx: 1 });
    if (session !== null) parts.signals.session(session);
  }
  return rows.map((row) => {
    const { number, machine, batchId, phase, site } = viewOfJob(row);
    const { processes = [], processesAt = null } = siteStateOf(row);
    return { number, project: row.project, site, machine, batchId, phase, at: processesAt, processes };
  });
}

/** The job's fragment of the database. */
export async function getRecord(parts: Parts, who: Principal, project: string, number: string) {
  if (!who.scopes.includes('work')) requireScope(who, 'read');
  const { id, name } = await projectOf(parts, who, project);
  const row = await jobRow(parts, id, number);
  const uid = await parts.store.projectUid({ projectId: id, fresh: randomUUID() });
  const { state, command, created_at: created, started_at: started, finished_at: finished } = row;
  return {
    format: 'pilotage-record/1' as const,
    project: { uid, name },
    jobs: [
      {
        uid: row.uid,
        parent: null,
        number: row.number,
        name: row.name,
        owner: row.owner,
        state: state === null ? stateOf(row) : (state as JobState),
        ...(command === null ? {} : { command: JSON.parse(command) as string[] }),
        createdAt: time(created),
        ...(started === null ? {} : { startedAt: time(started) }),
        ...(finished === null ? {} : { finishedAt: time(finished) }),
        entries: row.entries.map((body) => JSON.parse(body)),
      },
    ],
  };
}

export async function mergeRecord(parts: Parts, who: Principal, project: string, record: RecordFacts) {
  if (!who.scopes.includes('work')) requireScope(who, 'submit');
  const { id } = await projectOf(parts, who, project);
  const result = await parts.store.mergeRecord({
    projectId: id,
    projectUid: record.project.uid,
    jobs: record.jobs.map(toStored),
  });
  if (!result.ok && result.refusal === 'foreign-project')
    throw new PilotageError(
      'wrong-state',
      `this record belongs to another project than '${project}' here: nothing was merged. Merge it into the project, and at the server, that it came from`,
    );
  if (!result.ok)
    throw new PilotageError(
      'bad-request',
      'a sub-job of this record belongs to a job that neither the record nor the project has: nothing was merged',
    );
  for (const { answer } of result.jobs) if (answer !== 'unchanged') parts.dirty();
  return { jobs: result.jobs.map((job) => ({ ...job })) };
}

function toStored(job: RecordFacts['jobs'][number]): StoredJob {
  const when = (at: string | undefined): number | null => (at === undefined ? null : Date.parse(at));
  return {
    uid: job.uid,
    parent: job.parent,
    number: job.number,
    name: job.name,
    owner: job.owner,
    state: job.state,
    reason: job.reason ?? null,
    command: job.command === undefined ? null : JSON.stringify(job.command),
    createdAt: Date.parse(job.createdAt),
    startedAt: when(job.startedAt),
    finishedAt: when(job.finishedAt),
    entries: job.entries.map((entry) => ({ id: entry.id, kind: entry.kind, body: JSON.stringify(entry) })),
    digest: createHash('sha256').update(JSON.stringify(job)).digest('hex'),
  };
}

async function jobRow(parts: Parts, projectId: number, number: string): Promise<JobDetailRow> {
  const row = await parts.store.getJob({ projectId, number });
  if (!row)
    throw new PilotageError('not-found', `there is no job ${number}: 'pilotage job list' shows those there are`);
  return row;
}

interface SiteStateFacts {
  readonly phase?: SitePhase;
  readonly machine?: string;
  readonly batchId?: string;
  readonly detail?: string;
  readonly processes?: [];
  readonly processesAt?: string;
}

function siteStateOf(row: JobRow): SiteStateFacts {
  return row.site_state === null ? {} : (JSON.parse(row.site_state) as SiteStateFacts);
}

function viewOfJob(row: JobRow) {
  const at = siteStateOf(row);
  const state = stateOf(row);
  const isTask = row.task_state !== null;
  return {
    number: row.number,
    uid: row.uid,
    project: row.project,
    name: row.name,
    owner: row.owner,
    state,
    site: row.site,
    machine: at.machine ?? null,
    batchId: at.batchId ?? null,
    phase: row.task_state === 'running' ? (at.phase ?? null) : null,
    detail: row.task_state === 'running' ? (at.detail ?? null) : null,
    progress: toProgress(row.progress ?? row.service_progress),
    task: row.submission_id === null ? null : formatTaskId(row.submission_id, 1),
    attempt: row.attempt ?? 0,
    exitCode: row.exit_code,
    reason: isTask ? (row.task_state === 'failed' ? row.task_reason : null) : row.reason,
    createdAt: time(row.created_at),
    startedAt: timeOrNull(isTask ? row.task_started_at : row.started_at),
    finishedAt: timeOrNull(isTask ? row.task_finished_at : row.finished_at),
    service: row.service,
  };
}

function toProgress(text: string | null) {
  return text === null ? null : JSON.parse(text);
}
