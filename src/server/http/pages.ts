import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ERROR_CODES, PilotageError } from '../../ground/base/errors.ts';
import type { JobState } from '../../ground/protocol/job-state.ts';
import { type PageFile, readPageFiles } from './page-files.ts';

export interface JobLink {
  readonly project: string;
  readonly number: string;
  readonly secret: string;
}

/** Rejects with `not-found` for an unknown job and for a wrong secret. */
export type LookAtJob = (
  link: JobLink,
) => Promise<{ readonly state: JobState; readonly retryAfterSeconds: number | null }>;

/** Nothing but what comes from this server, no script or style inside a page, and no page inside another. */
const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
} as const;

/**
 * The web pages: shells that hold no data, and what they load. They are open; what they show comes from the API, which asks
 * for a token or a job's secret. The status of a job's page tells programs how its results stand.
 */
export function registerPages(app: FastifyInstance, directory: string, lookAtJob: LookAtJob): void {
  let read: ReadonlyMap<string, PageFile> | undefined;
  const fileOf = (name: string): PageFile | undefined => {
    read ??= readPageFiles(directory);
    return read.get(name);
  };
  const page = (url: string, shell: string): void => {
    app.get(url, { config: { open: true } }, (request, reply) => sendShell(request, reply, fileOf(shell)));
  };
  page('/', 'start.html');
  page('/services/:project/:service', 'submit.html');
  page('/services/:project/:service/queue', 'queue.html');
  app.get('/jobs/:project/:number/:secret', { config: { open: true } }, async (request, reply) => {
    const { status, retryAfterSeconds } = await standing(() => lookAtJob(request.params as JobLink));
    if (retryAfterSeconds !== null) reply.header('retry-after', String(retryAfterSeconds));
    return sendShell(request, reply.code(status), fileOf('job.html'));
  });
  app.get('/assets/:name', { config: { open: true } }, async (request, reply) => {
    const file = fileOf(`assets/${(request.params as { name: string }).name}`);
    if (file === undefined) return reply.callNotFound();
    reply.header('cache-control', 'public, max-age=31536000, immutable').header('etag', file.etag);
    if (request.headers['if-none-match'] === file.etag) return reply.headers(HEADERS).code(304).send();
    return sendFile(request, reply, file);
  });
}

interface Standing {
  readonly status: 200 | 404 | 410 | 503;
  readonly retryAfterSeconds: number | null;
}

async function standing(look: () => ReturnType<LookAtJob>): Promise<Standing> {
  try {
    const { state, retryAfterSeconds } = await look();
    // Complete, and its results are still on their way here.
    const status = state === 'COMPLETED' && retryAfterSeconds !== null ? 503 : (STATUS[state] ?? 503);
    return { status, retryAfterSeconds: status === 503 ? (retryAfterSeconds ?? A_WHILE) : null };
  } catch (error) {
    if (!(error instanceof PilotageError)) throw error;
    const status = ERROR_CODES[error.code];
    if (status === 404 || status === 400) return { status: 404, retryAfterSeconds: null };
    if (status === 503) return { status, retryAfterSeconds: SOON };
    throw error;
  }
}

/** A failed job may be started again by the service's people. */
const A_WHILE = 3600;
/** A server that ends is back in a moment. */
const SOON = 10;

/** All others are on their way, or failed: then there are no results yet. */
const STATUS: { readonly [state in JobState]?: Standing['status'] } = {
  COMPLETED: 200,
  ARCHIVED: 410,
  EXPIRED: 410,
  CANCELLED: 410,
};

function sendShell(request: FastifyRequest, reply: FastifyReply, file: PageFile | undefined): FastifyReply {
  if (file === undefined)
    throw new PilotageError(
      'not-found',
      "the web pages are not built here: 'npm run build' in the checkout makes them",
    );
  return sendFile(request, reply.header('cache-control', 'no-store'), file);
}

function sendFile(request: FastifyRequest, reply: FastifyReply, file: PageFile): FastifyReply {
  const accepted = String(request.headers['accept-encoding'] ?? '');
  const encoding = (['br', 'gzip'] as const).find((one) =>
    new RegExp(`\\b${one}\\b(?!;\\s*q=0(\\.0*)?\\s*(,|$))`).test(accepted),
  );
  reply.headers(HEADERS).header('vary', 'accept-encoding').type(file.type);
  if (encoding === undefined) return reply.send(file.plain);
  return reply.header('content-encoding', encoding).send(file.packed[encoding]);
}
