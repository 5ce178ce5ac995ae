import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { toCouchError } from './couch-error.ts';
import { databaseRoute } from './database-routes.ts';
import type { House } from './house.ts';
import { type CouchCall, parseAddress } from './request.ts';
import { serverRoute, welcome } from './server-routes.ts';
import { standing } from './standing.ts';
import { usersDatabase } from './users-database.ts';
import { NOBODY } from './visitor.ts';
import { identify } from './visitors.ts';

/** PATCH is offered nowhere, and is told so as CouchDB tells it. */
const METHODS = ['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'COPY', 'PATCH'];

/**
 * The face that speaks CouchDB, below a prefix ('' on a port of its own): what PiCaS clients, couchdb-python, curl and
 * browsers send. Behind it is the pool: a token is a task.
 */
export function registerCouchdb(app: FastifyInstance, house: House, prefix: string): void {
  if (!app.supportedMethods.includes('COPY')) app.addHttpMethod('COPY');
  void app.register(async (face) => {
    face.removeAllContentTypeParsers();
    // Bodies are read where they are wanted: attachments are streams.
    face.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
    face.setErrorHandler((error, request, reply) => answerError(house, error, request, reply));
    const handler = (request: FastifyRequest, reply: FastifyReply) =>
      request.life.inTime(answer(house, request, reply, prefix));
    const route = {
      method: METHODS,
      handler,
      config: { open: true },
      bodyLimit: Number.MAX_SAFE_INTEGER,
      exposeHeadRoute: false,
    };
    face.route({ ...route, url: `${prefix}/*` });
    if (prefix !== '') face.route({ ...route, url: prefix });
  });
}

async function answer(house: House, request: FastifyRequest, reply: FastifyReply, prefix: string) {
  const { path, query } = parseAddress(request.raw.url ?? '/', prefix);
  const [first] = path;
  // Who looks whether the server is there, or logs in anew, needs no right password for it.
  const isOpen = first === '_up' || (first === '_session' && request.method !== 'GET');
  const visitor = isOpen ? NOBODY : await identify(house.door, request);
  const call: CouchCall = { method: request.method, prefix, path, query, visitor, request, reply };
  if (visitor.name !== null && !visitor.principal?.task) request.life.watch(() => standing(house, call));
  if (first === undefined) return welcome(call, house);
  if (first === '_users') return usersDatabase(house, call);
  return first.startsWith('_') ? serverRoute(house, call) : databaseRoute(house, call);
}

/** In CouchDB's form, always with a length and of a size that old clients read. */
async function answerError(house: House, error: unknown, request: FastifyRequest, reply: FastifyReply) {
  const known = toCouchError(error);
  // A client that breaks off in the middle is no fault of the server.
  if (known.status >= 500 && known.status !== 501 && !request.gone.aborted)
    house.log.error({ err: error, url: request.url.split('?')[0] }, known.reason);
  if (known.status === 401)
    reply.header('www-authenticate', 'Basic realm="Pilotage: name and password of the project"');
  const text = `${JSON.stringify({ error: known.error, reason: known.reason.slice(0, 4000) })}\n`;
  return reply
    .code(known.status)
    .headers({ 'content-type': 'application/json', 'cache-control': 'must-revalidate' })
    .send(Buffer.from(text));
}
