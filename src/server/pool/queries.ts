import { setTimeout as pause } from 'node:timers/promises';
import { PilotageError } from '../../ground/base/errors.ts';
import { formatTaskId, parseTarget, parseTaskId } from '../../ground/base/task-id.ts';
import { isAdministrator, type Principal, requireScope } from '../access/principal.ts';
import type { RowState } from '../core/task.ts';
import type { TaskDetailRow } from '../store/verbs/read-tasks.ts';
import { isHeldByClient } from '../store/verbs/token-holders.ts';
import type { WorkerListRow } from '../store/verbs/workers.ts';
import type { Parts } from './parts.ts';
import { projectOf, visibleProjects } from './projects.ts';
import { submissionTopic } from './signals.ts';
import { time, viewOfDetail, viewOfResult, viewOfSubmission, viewOfTask, viewOfWorker } from './views.ts';

export async function getStatus(parts: Parts, principal: Principal, project: string | undefined, startedAt: number) {
  requireScope(principal, 'read');
  const projects = await visibleProjects(parts, principal, project);
  const counts = await countsIn(parts, projects);
  const workers = (await parts.store.listWorkers({ all: false }))
    .filter((worker) => worker.state === 'alive' && worker.batch_hold === 0 && !isHeldByClient(worker))
    .map(viewOfWorker);
  const submissions = await Promise.all(
    (projects ?? [null]).map((projectId) => parts.store.countSubmissions({ projectId })),
  );
  return {
    version: parts.version,
    database: parts.store.dialect,
    startedAt: time(startedAt),
    now: time(Date.now()),
    counts,
    submissions: submissions.reduce((sum, n) => sum + n, 0),
    workers: {
      alive: workers.filter((worker) => worker.state === 'alive').length,
      draining: workers.filter((worker) => worker.state === 'draining').length,
      cpus: workers.reduce((sum, worker) => sum + worker.total.cpus, 0),
      busyCpus: workers.reduce((sum, worker) => sum + worker.running, 0),
    },
    ...(isAdministrator(principal) ? await neighboursOf(parts) : {}),
  };
}

async function neighboursOf(parts: Parts) {
  const linked = parts.neighbours.linked();
  const trusted = (await parts.store.listPeers()).filter(({ state }) => state === 'trusted');
  if (!linked || trusted.length === 0) return {};
  const unreachable = trusted.filter(({ id }) => !linked.has(id)).map(({ name }) => name);
  return { neighbours: { connected: trusted.length - unreachable.length, unreachable } };
}

export async function countsIn(parts: Parts, projects: readonly number[] | null): Promise<Record<RowState, number>> {
  const sum = { waiting: 0, queued: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0 };
  for (const { projectId, counts } of await parts.store.countByProject()) {
    if (projects !== null && !projects.includes(projectId)) continue;
    for (const state of Object.keys(sum) as RowState[]) sum[state] += counts[state] ?? 0;
  }
  return sum;
}

/** One submission; waits for it to finish, or for any change, if asked to. */
export async function getSubmission(
  parts: Parts,
  principal: Principal,
  id: number,
  wait: { seconds: number; finishedOnly: boolean },
  gone: AbortSignal,
) {
  const begun = performance.now();
  const deadline = begun + wait.seconds * 1000;
  const ends = AbortSignal.any([gone, parts.closing]);
  const before = await readSubmission(parts, principal, id);
  for (let view = before; ; view = await readSubmission(parts, principal, id)) {
    const changed = !wait.finishedOnly && JSON.stringify(view.counts) !== JSON.stringify(before.counts);
    const left = deadline - performance.now();
    if (view.finished || changed || left <= 0 || ends.aborted) return view;
    await parts.signals.wait([submissionTopic(id)], Math.min(1000, left), ends);
    await restBetweenLooks(performance.now() - begun, ends);
  }
}

const LONGEST_REST_MS = 100;

/** Where tasks end by the hundred, one who waits for the last of them looks now and then; at a single task at once. */
async function restBetweenLooks(waitedMs: number, ends: AbortSignal): Promise<void> {
  const rest = Math.min(LONGEST_REST_MS, waitedMs / 10);
  if (rest >= 5) await pause(rest, undefined, { signal: ends }).catch(() => undefined);
}

async function readSubmission(parts: Parts, principal: Principal, id: number) {
  requireScope(principal, 'read');
  const [row] = await parts.store.getSubmissions({ ids: [id] });
  const missing = new PilotageError('not-found', `there is no submission ${id}: 'pilotage tasks' shows what there is`);
  if (!row) throw missing;
  await projectOf(parts, principal, row.project).catch(() => Promise.reject(missing));
  return viewOfSubmission(row);
}

export interface Page {
  readonly limit?: number | undefined;
  readonly after?: string | undefined;
}

export async function listSubmissions(parts: Parts, principal: Principal, project: string | undefined, page: Page) {
  requireScope(principal, 'read');
  const projectIds = await visibleProjects(parts, principal, project);
  const rows = await parts.store.listSubmissions({
    projectIds,
    before: numberOrNull(page.after),
    limit: page.limit ?? 100,
  });
  return rows.map(viewOfSubmission);
}

export async function listTasks(
  parts: Parts,
  principal: Principal,
  filter: { project?: string | undefined; state?: RowState | undefined; submission?: number | undefined },
  page: Page,
) {
  requireScope(principal, 'read');
  const projectIds = await visibleProjects(parts, principal, filter.project);
  const limit = page.limit ?? 1000;
  const after = page.after === undefined ? null : parseTaskId(page.after);
  const rows = await parts.store.listTasks({
    projectIds,
    submission: filter.submission ?? null,
    state: filter.state ?? null,
    after: after && { submission: after.submission, idx: after.index },
    limit,
  });
  const last = rows.at(-1);
  return {
    tasks: rows.map(viewOfTask),
    next: rows.length === limit && last ? formatTaskId(last.submission_id, last.idx) : null,
  };
}

/** The row of one task; a submission of one task stands for it. */
export async function taskRow(parts: Parts, principal: Principal, id: string): Promise<TaskDetailRow> {
  requireScope(principal, 'read');
  const target = parseTarget(id);
  const what = target.index === undefined ? 'submission' : 'task';
  const missing = new PilotageError('not-found', `there is no ${what} ${id}: 'pilotage tasks' shows those there are`);
  const [submission] = await parts.store.getSubmissions({ ids: [target.submission] });
  if (!submission) throw missing;
  await projectOf(parts, principal, submission.project).catch(() => Promise.reject(missing));
  const idx = target.index ?? (await onlyTask(parts, target.submission));
  const row = idx === undefined ? null : await parts.store.getTask({ submission: target.submission, idx });
  return row ?? Promise.reject(missing);
}

async function onlyTask(parts: Parts, submission: number): Promise<number | undefined> {
  const rows = await parts.store.listTasks({ projectIds: null, submission, state: null, after: null, limit: 2 });
  if (rows.length > 1)
    throw new PilotageError(
      'bad-request',
      `submission ${submission} has many tasks: name one of them, as in '${submission}.${rows[0]?.idx}'`,
    );
  return rows[0]?.idx;
}

export async function getTask(parts: Parts, principal: Principal, id: string) {
  return viewOfDetail(await taskRow(parts, principal, id));
}

export async function listResults(
  parts: Parts,
  principal: Principal,
  id: string,
  attempt: number | undefined,
  page: Page,
) {
  requireScope(principal, 'read');
  const target = parseTarget(id);
  await readSubmission(parts, principal, target.submission);
  const limit = page.limit ?? 1000;
  const rows = await parts.store.listResults({
    submission: target.submission,
    idx: target.index ?? null,
    attempt: attempt ?? null,
    after: numberOrNull(page.after),
    limit,
  });
  if (rows.length === 0 && target.index !== undefined)
    throw new PilotageError('not-found', `there is no task ${id}: 'pilotage tasks' shows those there are`);
  return { tasks: rows.map(viewOfResult), next: rows.length === limit ? String(rows.at(-1)?.idx) : null };
}

function numberOrNull(after: string | undefined): number | null {
  if (after === undefined) return null;
  if (!/^\d{1,15}$/.test(after))
    throw new PilotageError(
      'bad-request',
      `after=${after} is not a place in this list: give what the page before named as its next`,
    );
  return Number(after);
}

export async function listWorkers(parts: Parts, principal: Principal, all: boolean) {
  requireScope(principal, 'read');
  const projects = await visibleProjects(parts, principal, undefined);
  const rows = await parts.store.listWorkers({ all });
  return rows.filter((row) => !isHidden(row, projects)).map(viewOfWorker);
}

/** Workers are everybody's to see, but for clients of the CouchDB face: their names tell who works in which project. */
function isHidden(row: WorkerListRow, projects: readonly number[] | null): boolean {
  if (projects === null || !isHeldByClient(row) || row.projects === null) return false;
  return !(JSON.parse(row.projects) as number[]).some((id) => projects.includes(id));
}

export async function listProjects(parts: Parts, principal: Principal) {
  requireScope(principal, 'read');
  const visible = isAdministrator(principal) ? null : await visibleProjects(parts, principal, undefined);
  const counts = new Map((await parts.store.countByProject()).map((row) => [row.projectId, row.counts]));
  const none = { waiting: 0, queued: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0 };
  return (await parts.store.listProjects())
    .filter((project) => visible === null || visible.includes(project.id))
    .map((project) => ({
      name: project.name,
      owner: project.owner,
      createdAt: time(project.created_at),
      counts: { ...none, ...counts.get(project.id) },
    }));
}
