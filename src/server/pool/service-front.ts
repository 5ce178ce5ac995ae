/** What the front of a service shows: to those who may read the project, and to those who may only add jobs. */
import { mayDo, type Principal, requireScope } from '../access/principal.ts';
import { listJobs } from './jobs.ts';
import type { Parts } from './parts.ts';
import { projectOf } from './projects.ts';
import { isHosted, serviceRow } from './services.ts';

/** What somebody needs to know who wants to add a job. */
export async function serviceForm(parts: Parts, who: Principal, at: { project: string; service: string }) {
  requireFront(who);
  const { id } = await projectOf(parts, who, at.project);
  const row = await serviceRow(parts, id, at.service);
  return {
    name: row.name,
    project: row.project,
    title: row.title,
    parameters: JSON.parse(row.schema),
    hosted: isHosted(row),
  };
}

export interface QueuePage {
  readonly limit?: number | undefined;
  readonly after?: string | undefined;
  readonly state?: string | undefined;
}

/** What waits, runs and has ended. Who may only add jobs is not told how others call theirs. */
export async function serviceQueue(
  parts: Parts,
  who: Principal,
  at: { project: string; service: string },
  page: QueuePage,
) {
  requireFront(who);
  const { id } = await projectOf(parts, who, at.project);
  const row = await serviceRow(parts, id, at.service);
  const reader: Principal = mayDo(who, 'read') ? who : { ...who, scopes: ['read'] };
  const [{ jobs, next }, counts] = await Promise.all([
    listJobs(parts, reader, at.project, { ...page, service: at.service }),
    parts.store.countServiceJobs({ serviceId: row.id }),
  ]);
  const shown = jobs.map(({ number, uid, name, state, progress, createdAt, finishedAt }) => {
    const own = mayDo(who, 'read') ? { name, secret: parts.links.secretOf({ uid }) } : { name: null, secret: null };
    return { number, ...own, state, progress, createdAt, finishedAt };
  });
  return { title: row.title, hosted: isHosted(row), counts, jobs: shown, next };
}

function requireFront(who: Principal): void {
  if (!mayDo(who, 'read')) requireScope(who, 'front');
}
