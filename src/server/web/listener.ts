import type { IncomingMessage } from 'node:http';
import fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify';
import { PilotageError } from '../../ground/base/errors.ts';
import type { Log } from '../../ground/base/log.ts';
import type { Access } from '../access/access.ts';
import type { Principal } from '../access/principal.ts';
import { lazyValidation } from './lazy-validation.ts';
import { toPilotageError, toProblem } from './problem.ts';
import { createLife, type RequestLife } from './request-life.ts';
import { shownAddress } from './shown-address.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks. There is none on the few paths that need no token. */
    principal: Principal;
    /** Aborts when the client is gone. */
    gone: AbortSignal;
    life: RequestLife;
  }
  interface FastifyContextConfig {
    /** Reached without a token. */
    readonly open?: boolean;
    /** A neighbour may call it over its link. */
    readonly forNeighbours?: boolean;
    /** Takes a form (multipart/form-data), and reads it itself. */
    readonly form?: boolean;
  }
}

export interface ListenerOptions {
  readonly access: Access;
  readonly log: Log;
  readonly tls: { readonly cert: string; readonly key: string } | null;
  /** Who asks over a link of neighbours; undefined: the request came by another way. */
  readonly neighbour?: (raw: IncomingMessage) => Promise<Principal> | undefined;
  /** Answers what the program of a borrowed task asks, from its home. */
  readonly relay?: (principal: Principal, request: FastifyRequest, reply: FastifyReply) => Promise<unknown>;
}

/** Largest JSON body. Items of large submissions come in chunks, files as streams. */
const BODY_BYTES = 32 * 1024 * 1024;

/** The listener: who asks is known before a body is read; every error leaves through one table. */
export function createListener(options: ListenerOptions): FastifyInstance {
  const base: FastifyServerOptions = {
    bodyLimit: BODY_BYTES,
    logger: false,
    forceCloseConnections: true,
    keepAliveTimeout: 75_000,
    routerOptions: { maxParamLength: 256 },
    // What is not even an address is refused before any route: in the words of both faces.
    frameworkErrors: (error, _request, reply) => {
      const detail = `the address of the request cannot be read: ${error.message}`;
      const body = {
        type: 'about:blank',
        title: 'bad-request',
        status: 400,
        code: 'bad-request',
        detail,
        error: 'bad_request',
        reason: detail,
      };
      void (reply as unknown as FastifyReply).code(400).type('application/json').send(JSON.stringify(body));
    },
  };
  // Fastify's types tell http and https apart; nothing here does.
  const app = (
    options.tls ? fastify({ ...base, https: options.tls } as FastifyServerOptions) : fastify(base)
  ) as FastifyInstance;
  app.setSerializerCompiler(() => JSON.stringify);
  app.setValidatorCompiler(lazyValidation());
  app.decorateRequest('principal', null as unknown as Principal);
  app.decorateRequest('gone', null as unknown as AbortSignal);
  app.decorateRequest('life', null as unknown as RequestLife);
  app.addHook('onRequest', async (request, reply) => {
    const gone = new AbortController();
    request.raw.once('error', () => gone.abort());
    reply.raw.once('close', () => gone.abort());
    request.gone = gone.signal;
    request.life = createLife(options.access, request, reply);
    if (request.routeOptions.config.open === true) return;
    request.principal = await identify(request, options);
    watch(request, options.access);
    if (request.principal.isBorrowed && options.relay) return options.relay(request.principal, request, reply);
  });
  app.addHook('onResponse', async (request, reply) => {
    const facts = {
      method: request.method,
      url: shownAddress(request.url),
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime),
      who: request.principal?.name,
    };
    options.log.debug(facts, 'answered');
  });
  app.setErrorHandler(async (error, request, reply) => {
    const problem = toProblem(error);
    const isForm = request.routeOptions.config.form === true;
    if (problem.code === 'body-too-large' || isForm) await drain(request.raw);
    if (problem.status >= 500 && problem.code !== 'shutting-down')
      options.log.error({ err: toPilotageError(error).cause ?? error, url: shownAddress(request.url) }, problem.detail);
    if (problem.retryAfterSeconds !== undefined) reply.header('retry-after', String(problem.retryAfterSeconds));
    if (problem.status === 401) reply.header('www-authenticate', challengeTo(request));
    return reply.code(problem.status).type('application/problem+json').send(JSON.stringify(problem));
  });
  app.setNotFoundHandler((request, reply) => {
    const problem = {
      type: 'about:blank',
      title: 'not-found',
      status: 404,
      code: 'not-found',
      detail: `there is nothing at ${request.method} ${shownAddress(request.url)}: /api/docs shows what there is`,
    };
    return reply.code(404).type('application/problem+json').send(JSON.stringify(problem));
  });
  return app;
}

/** What comes over a link is the neighbour's own, unless it carries the credential of a task that runs there. */
async function identify(request: FastifyRequest, { access, neighbour }: ListenerOptions): Promise<Principal> {
  const token = tokenOf(request);
  const principal = await neighbour?.(request.raw);
  // Each neighbour by its name: one that tries tokens shuts out no other.
  if (!principal || token !== undefined) return access.authenticate(token, principal?.name ?? request.ip);
  if (request.routeOptions.config.forNeighbours === true) return principal;
  throw new PilotageError('forbidden', `a neighbour has no business at ${request.method} ${shownAddress(request.url)}`);
}

/** The credential of a task ends with its attempt, whatever becomes of people. */
function watch(request: FastifyRequest, access: Access): void {
  const { life, principal } = request;
  const token = tokenOf(request);
  if (principal.token && token !== undefined) life.watch(() => access.standing(token, principal));
}

/** A browser that is sent to a page asks its user for the token; a script of a page has its own way to ask. */
function challengeTo(request: FastifyRequest): string {
  const bearer = 'Bearer realm="Pilotage"';
  if (request.headers['x-requested-with'] !== undefined) return bearer;
  return `${bearer}, Basic realm="Pilotage: any name, and a token as the password"`;
}

/** `Authorization: Bearer TOKEN`, or Basic with the token as the password, so that a browser can ask for it. */
function tokenOf(request: FastifyRequest): string | undefined {
  const [scheme = '', value = ''] = (request.headers.authorization ?? '').split(' ');
  if (/^bearer$/i.test(scheme)) return value;
  if (!/^basic$/i.test(scheme)) return undefined;
  const pair = Buffer.from(value, 'base64').toString('utf8');
  return pair.slice(pair.indexOf(':') + 1);
}

const DRAINED_BYTES = 256 * 1024 * 1024;
const DRAINED_MS = 10_000;

/** Reads on what is thrown away, so that the client, which is still sending, comes to see the answer. Within limits. */
function drain(request: IncomingMessage): Promise<void> {
  if (request.readableEnded || request.destroyed) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, DRAINED_MS);
  let bytes = 0;
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > DRAINED_BYTES) resolve();
  });
  request.once('end', resolve);
  request.once('close', resolve);
  request.resume();
  return promise.finally(() => clearTimeout(timer));
}
