import type { FastifyInstance, FastifyRequest } from 'fastify';
import { API, type Route } from '../../ground/protocol/route.ts';
import type { Call, HandlersOf } from './handlers.ts';
import { schemaOf } from './route-schema.ts';

/** Every route of a table of the protocol, with what answers it. `forNeighbours`: those that a neighbour may call, by name. */
export function registerRoutes<Table extends Readonly<Record<string, object>>>(
  app: FastifyInstance,
  table: Table,
  handlers: HandlersOf<Table>,
  forNeighbours: readonly string[] = [],
): void {
  for (const [name, route] of Object.entries(table) as [string, Route][]) {
    const handler = handlers[name] as unknown as (call: Call<Route>) => Promise<unknown>;
    app.route({
      method: route.method,
      url: API + route.path,
      schema: schemaOf(route, name),
      // Bytes are streamed, and verified by their digest: how many there may be is the disk's business.
      ...(route.raw === 'in' ? { bodyLimit: Number.MAX_SAFE_INTEGER } : {}),
      config: {
        open: route.open === true,
        form: route.alsoAsForm === true,
        forNeighbours: forNeighbours.includes(name),
      },
      ...(route.query ? { preValidation: readQuery } : {}),
      ...(route.params ? { preParsing: readId(route) } : {}),
      handler: async (request, reply) => {
        const { params, query, body, principal } = request;
        const answer = await handler({ who: principal, params, query, body, request, reply } as unknown as Call<Route>);
        if (reply.sent || answer === reply) return reply;
        return reply.code(route.status ?? 200).send(answer);
      },
    });
  }
}

async function readQuery(request: FastifyRequest): Promise<void> {
  request.query = fromText(request.query);
}

function readId(route: Route) {
  return async (request: FastifyRequest): Promise<void> => {
    request.params = idAsNumber(route, request.params);
  };
}

/** In an address everything is text: what reads as a number or a truth value is meant as one, where the schema says so. */
function fromText(query: unknown): Record<string, unknown> {
  const texts = new Set(['project', 'after', 'state', 'stream', 'upload', 'service']);
  return Object.fromEntries(
    Object.entries(query as Record<string, string>).map(([key, value]) => {
      if (texts.has(key)) return [key, value];
      if (value === 'true' || value === 'false') return [key, value === 'true'];
      return [key, value !== '' && Number.isFinite(Number(value)) ? Number(value) : value];
    }),
  );
}

function idAsNumber(route: Route, params: unknown): unknown {
  const { id } = params as { id?: string };
  const wanted = (route.params as { properties?: { id?: { type?: string } } }).properties?.id?.type;
  return wanted === 'integer' && id !== undefined && /^\d+$/.test(id)
    ? { ...(params as object), id: Number(id) }
    : params;
}
