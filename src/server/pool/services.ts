import { PilotageError } from '../../ground/base/errors.ts';
import { type Principal, requireScope } from '../access/principal.ts';
import type { ServiceRow } from '../store/verbs/services.ts';
import type { Parts } from './parts.ts';
import { projectOf } from './projects.ts';
import { time, timeOrNull } from './views.ts';

export async function nudgeService(parts: Parts, who: Principal, at: { project: string; service: string }) {
  requireScope(who, 'submit');
  const { id } = await projectOf(parts, who, at.project);
  const service = await serviceRow(parts, id, at.service);
  await parts.store.nudgeService({ id: service.id });
  parts.signals.service(service.id);
}

export async function listServices(parts: Parts, who: Principal, project: string) {
  requireScope(who, 'read');
  const { id } = await projectOf(parts, who, project);
  const rows = await parts.store.listServices({ projectId: id });
  return Promise.all(rows.map((row) => viewOfService(parts, row)));
}

export async function getService(parts: Parts, who: Principal, at: { project: string; service: string }) {
  requireScope(who, 'read');
  const { id } = await projectOf(parts, who, at.project);
  return viewOfService(parts, await serviceRow(parts, id, at.service));
}

async function viewOfService(parts: Parts, row: ServiceRow) {
  return {
    name: row.name,
    project: row.project,
    title: row.title,
    url: parts.links.serviceUrl(row),
    parameters: JSON.parse(row.schema),
    incoming: row.incoming,
    archiveSeconds: row.archive_ms === null ? null : row.archive_ms / 1000,
    expireSeconds: row.expire_ms === null ? null : row.expire_ms / 1000,
    host: isHosted(row)
      ? { ...JSON.parse(row.host ?? '{}'), session: row.host_number, since: time(row.host_since ?? 0) }
      : null,
    endedAt: timeOrNull(row.ended_at),
    endReason: row.end_reason,
    counts: await parts.store.countServiceJobs({ serviceId: row.id }),
  };
}

/** Jobs are taken up now. */
export function isHosted(row: ServiceRow): boolean {
  return row.host_until > row.now && row.host !== null;
}

/** The service of that name. */
export async function serviceRow(parts: Parts, projectId: number, name: string): Promise<ServiceRow> {
  const row = await parts.store.getService({ projectId, name });
  if (row) return row;
  throw new PilotageError(
    'not-found',
    `there is no service '${name}' in this project: 'pilotage service list' shows those there are; one is there once it was hosted ('pilotage service run DIR')`,
  );
}
