import { createHmac } from 'node:crypto';

/**
 * Secret links of jobs: who has one sees the job and fetches its results. The secret is made from a key that only the
 * servers have and from what the job is, so that a link can be made again, for a mail say, and the database holds
 * nothing but its hash.
 */
export interface Links {
  secretOf(job: { readonly uid: string }): string;
  /** The page of a job, with its secret. */
  urlOf(job: { readonly project: string; readonly number: string; readonly uid: string }): string;
  /** The page where people add jobs to a service. */
  serviceUrl(service: { readonly project: string; readonly name: string }): string;
}

/** 192 bits. */
const SECRET_BYTES = 24;

/** `base` is asked for each time: a server knows its address only when it listens. */
export function createLinks(key: string, base: () => string): Links {
  const secretOf = ({ uid }: { readonly uid: string }): string =>
    createHmac('sha256', key).update(`job:${uid}`).digest().subarray(0, SECRET_BYTES).toString('base64url');
  return {
    secretOf,
    urlOf: ({ project, number, uid }) => `${base()}/jobs/${encodeURIComponent(project)}/${number}/${secretOf({ uid })}`,
    serviceUrl: ({ project, name }) => `${base()}/services/${encodeURIComponent(project)}/${name}`,
  };
}
