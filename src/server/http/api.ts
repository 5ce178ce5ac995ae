import { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { errorCodes, type FastifyInstance, type FastifyRequest } from 'fastify';
import { PilotageError } from '../../ground/base/errors.ts';
import { MAX_PACK_BYTES, parsePack } from '../../ground/protocol/blob-pack.ts';
import { NEIGHBOUR_CALLS } from '../../ground/protocol/peer-routes.ts';
import type { ReplyOf } from '../../ground/protocol/route.ts';
import { type Routes, routes } from '../../ground/protocol/routes.ts';
import type { Audit } from '../access/audit.ts';
import type { Copies } from '../backup/copies.ts';
import type { Imports } from '../backup/imports.ts';
import type { Pool } from '../pool/pool.ts';
import type { Handlers } from '../web/handlers.ts';
import { registerRoutes } from '../web/register-routes.ts';
import { type CopyHandlers, copyHandlers } from './copy-handlers.ts';
import { type CouchdbDoor, makeCredentials } from './credentials.ts';
import { type FrontHandlers, frontHandlers } from './front-handlers.ts';
import { type PeopleDoor, type PeopleHandlers, peopleHandlers } from './people-handlers.ts';
import { sendBytes } from './send-bytes.ts';

export interface ApiParts {
  readonly pool: Pool;
  readonly people: PeopleDoor;
  readonly couchdb: Pick<CouchdbDoor, 'where'>;
  readonly copies: Copies;
  readonly imports: Imports;
  /** Where files of forms are while they arrive. */
  readonly spool: string;
}

/** The API: every route of the protocol's table, translated into one call on the pool. */
export function registerApi(app: FastifyInstance, parts: ApiParts): void {
  const { pool, people, couchdb, spool } = parts;
  app.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload));
  app.addContentTypeParser('multipart/form-data', (request, payload, done) =>
    request.routeOptions.config.form === true
      ? done(null, payload)
      : done(new errorCodes.FST_ERR_CTP_INVALID_MEDIA_TYPE()),
  );
  const door = { ...couchdb, users: people.users, audit: people.audit };
  const handlers: Handlers = {
    ...createHandlers(pool, door),
    ...frontHandlers(pool, spool),
    ...peopleHandlers(people),
    ...copyHandlers(parts.copies, parts.imports),
  };
  registerRoutes(app, routes, handlers, {
    forNeighbours: NEIGHBOUR_CALLS,
    onError: (request, what, error) => noteForbidden(people.audit, request, what, error),
  });
}

/** What only an administrator or an owner may, and somebody else tried. */
export function noteForbidden(audit: Audit, { principal }: FastifyRequest, what: string, error: unknown): void {
  if (error instanceof PilotageError && error.code === 'forbidden' && error.details.needs === 'admin')
    audit.refused(principal, 'forbidden', what);
}

type Others = keyof FrontHandlers | keyof PeopleHandlers | keyof CopyHandlers;

function createHandlers(pool: Pool, couchdb: CouchdbDoor): Omit<Handlers, Others> {
  return {
    status: ({ who, query }) => pool.status(who, query.project),

    submit: ({ who, body }) => pool.submit(who, body),
    addItems: ({ who, params, body }) => pool.addItems(who, params.id, body.offset, body.items),
    closeSubmission: ({ who, params }) => pool.closeSubmission(who, params.id),
    submission: ({ who, params, query, request }) =>
      pool.submission(
        who,
        params.id,
        { seconds: query.waitSeconds ?? 0, finishedOnly: query.finishedOnly ?? false },
        request.life.ends,
      ),
    submissions: ({ who, query }) => pool.submissions(who, query.project, query),

    tasks: ({ who, query }) => pool.tasks(who, query, query),
    task: ({ who, params }) => pool.task(who, params.id),
    why: ({ who, params }) => pool.why(who, params.id),
    logs: async ({ who, params, query, request, reply }) => {
      const streams = query.stream === undefined ? ['stdout', 'stderr'] : [query.stream];
      const pieces = await pool.logs(
        who,
        params.id,
        { attempt: query.attempt, streams, follow: query.follow ?? false },
        request.life.ends,
      );
      return reply.type('application/x-ndjson').send(Readable.from(toLines(pieces)));
    },
    results: ({ who, params, query }) => pool.results(who, params.id, query.attempt, query),
    cancel: async ({ who, body }) => ({ changed: await pool.cancel(who, body) }),
    retry: async ({ who, body }) => ({ changed: await pool.retry(who, body) }),
    forget: async ({ who, body }) => ({ changed: await pool.forget(who, body) }),
    acceptLate: ({ who, params, body }) => pool.acceptLate(who, params.id, body.attempt),

    createJob: ({ who, params, body }) => pool.createJob(who, params.project, body),
    jobs: ({ who, params, query }) => pool.jobs(who, params.project, query),
    job: ({ who, params }) => pool.job(who, params.project, params.number),
    jobProcesses: ({ who, params }) => pool.jobProcesses(who, params.project),
    jobRecord: ({ who, params }) => pool.jobRecord(who, params.project, params.number),
    mergeRecord: ({ who, params, body }) => pool.mergeRecord(who, params.project, body),

    services: ({ who, params }) => pool.services(who, params.project),
    service: ({ who, params }) => pool.service(who, params),
    wishJobs: ({ who, params, body }) => pool.wishJobs(who, params.project, body),
    nudgeService: async ({ who, params, reply }) => {
      await pool.nudgeService(who, params);
      return reply.code(204).send();
    },
    hostService: ({ who, params, body }) => pool.hostService(who, params, body),
    pollService: ({ who, params, body, request }) =>
      pool.pollService(who, hostOf(params, request), body, request.life.ends),
    changeServiceJobs: ({ who, params, body, request }) =>
      pool.changeJobs(who, hostOf(params, request), body.changes) as Promise<ReplyOf<Routes['changeServiceJobs']>>,
    knownServiceJobs: async ({ who, params, body }) => ({ jobs: await pool.knownServiceJobs(who, params, body.jobs) }),
    leaveService: async ({ who, params, body, request, reply }) => {
      await pool.leaveService(who, hostOf(params, request), body.reason ?? null);
      return reply.code(204).send();
    },

    workers: ({ who, query }) => pool.workers(who, query.all ?? false),
    register: ({ who, body }) => pool.register(who, body),
    exchange: ({ who, params, body, request }) =>
      pool.exchange(who, params.session, sessionSecret(request), body, request.life.ends) as Promise<
        ReplyOf<Routes['exchange']>
      >,
    leave: async ({ who, params, request }) => ({
      changed: await pool.leave(who, params.session, sessionSecret(request)),
    }),
    checkpoint: ({ who, body }) => pool.checkpoint(who, body),
    source: ({ who, params, body, request }) =>
      pool.source(who, { session: params.session, secret: sessionSecret(request) }, body),
    holds: async ({ who, params, body, request, reply }) => {
      await pool.holds(who, { session: params.session, secret: sessionSecret(request) }, body);
      return reply.code(204).send();
    },
    ticketKeys: ({ who }) => pool.ticketKeys(who),
    drainWorkers: async ({ who, body }) => ({ changed: await pool.instruct(who, namesOf(body), 'drain') }),
    stopWorkers: async ({ who, body }) => ({ changed: await pool.instruct(who, namesOf(body), 'stop') }),

    pilots: ({ who }) => pool.pilots(who),
    setPilots: ({ who, params, body }) => pool.setPilots(who, params.site, body),
    pausePilots: ({ who, params, body }) => pool.pausePilots(who, params.site, body.paused),
    removePilots: async ({ who, params, reply }) => {
      await pool.removePilots(who, params.site);
      return reply.code(204).send();
    },

    projects: ({ who }) => pool.projects(who),

    projectUsage: ({ who, params }) => pool.projectUsage(who, params.project),
    setQuota: ({ who, params, body }) => pool.setQuota(who, params.project, body.bytes),

    setProjectLimit: ({ who, params, body }) => pool.setProjectLimit(who, params.project, body.running),
    setShare: ({ who, params, body }) => pool.setShare(who, params.user, body),
    usage: ({ who }) => pool.usage(who),

    setTokenLimits: ({ who, params, body }) => pool.setTokenLimits(who, params.project, body),
    makeCredentials: ({ who, params }) => makeCredentials(pool, couchdb, who, params.project),

    missingBlobs: ({ who, params, body }) => pool.missingBlobs(who, params.project, body),
    putBlob: async ({ who, params, query, request, reply }) => {
      const length = request.headers['content-length'];
      const upload = {
        id: query.upload,
        offset: query.offset ?? 0,
        length: length === undefined ? undefined : Number(length),
      };
      await pool.putBlob(who, params, upload, request.body as Readable);
      return reply.code(204).send();
    },
    putBlobs: async ({ who, params, request, reply }) => {
      await pool.putBlobs(who, params.project, parsePack(await readWhole(request.body as Readable, MAX_PACK_BYTES)));
      return reply.code(204).send();
    },
    uploadState: ({ who, params }) => pool.uploadState(who, params),
    getBlob: async ({ who, params, request, reply }) =>
      sendBytes(reply, request, (start) => pool.getBlob(who, params.project, params.digest, start)),
  };
}

/** So long a stream says nothing at the most: an empty line shows that it is still there. */
const SILENCE_MS = 15_000;

async function* toLines(pieces: AsyncGenerator<object>): AsyncGenerator<string> {
  for (;;) {
    const coming = pieces.next();
    while ((await Promise.race([coming, pause(SILENCE_MS, 'silence', { ref: false })])) === 'silence') yield '\n';
    const next = await coming;
    if (next.done) return;
    yield `${JSON.stringify(next.value)}\n`;
  }
}

function hostOf(params: { project: string; service: string; session: string }, request: FastifyRequest) {
  return { ...params, session: Number(params.session), secret: sessionSecret(request) };
}

function sessionSecret(request: FastifyRequest): string {
  const secret = request.headers['x-pilotage-session'];
  if (typeof secret === 'string') return secret;
  throw new PilotageError(
    'session-ended',
    'a worker sends the secret of its session as X-Pilotage-Session: register to get one',
  );
}

function namesOf(selection: { workers?: string[] | undefined; all?: boolean | undefined }): string[] | null {
  if (selection.all) return null;
  if (selection.workers && selection.workers.length > 0) return selection.workers;
  throw new PilotageError('bad-request', 'nothing was named: give workers, or say that all are meant');
}

async function readWhole(body: Readable, most: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += (chunk as Buffer).length;
    if (size > most) throw new PilotageError('body-too-large', `more than ${most} bytes in one pack: send several`);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}
