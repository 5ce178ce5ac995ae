import { ROOT } from './root.ts';

export interface OfService {
  readonly project: string;
  readonly service: string;
}

/** Whoever has the secret sees the job. */
export interface LinkOfJob {
  readonly project: string;
  readonly number: string;
  readonly secret: string;
}

/** Which page an address means. */
export type Place =
  | { readonly page: 'start' }
  | ({ readonly page: 'submit' | 'queue' } & OfService)
  | ({ readonly page: 'job' } & LinkOfJob)
  | { readonly page: 'nowhere' };

export function placeOf(path: string, root = ROOT): Place {
  const [kind, project, second, third, ...more] = partsOf(path.slice(root.length));
  if (kind === undefined) return { page: 'start' };
  if (more.length > 0 || project === undefined || second === undefined) return { page: 'nowhere' };
  if (kind === 'services' && third === undefined) return { page: 'submit', project, service: second };
  if (kind === 'services' && third === 'queue') return { page: 'queue', project, service: second };
  if (kind === 'jobs' && third !== undefined) return { page: 'job', project, number: second, secret: third };
  return { page: 'nowhere' };
}

function partsOf(path: string): string[] {
  try {
    return path
      .split('/')
      .filter((part) => part !== '')
      .map(decodeURIComponent);
  } catch {
    return ['nowhere'];
  }
}

export const submitAddress = (project: string, service: string): string =>
  `${ROOT}/services/${encodeURIComponent(project)}/${encodeURIComponent(service)}`;

/** The start. */
export const START = `${ROOT}/`;

export const queueAddress = (project: string, service: string): string => `${submitAddress(project, service)}/queue`;

export const jobAddress = (job: LinkOfJob): string =>
  `${ROOT}/jobs/${[job.project, job.number, job.secret].map(encodeURIComponent).join('/')}`;
