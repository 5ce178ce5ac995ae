import type { FastifyInstance, FastifyRequest } from 'fastify';
import { API, type Route } from '../../ground/protocol/route.ts';
import type { Call, HandlersOf } from './handlers.ts';
import { readId, readQuery } from './read-address.ts';
import { schemaOf } from './route-schema.ts';

export interface RouteOptions {
  /** Those that a neighbour may call, by name. */
  readonly forNeighbours?: readonly string[];
  /** Told of what was refused or failed, and where. */
  readonly onError?: (request: FastifyRequest, what: string, error: unknown) => void;
}

/** Every route of a table of the protocol, with what answers it. */
export function registerRoutes<Table extends Readonly<Record<string, object>>>(
  app: FastifyInstance,
  table: Table,
  handlers: HandlersOf<Table>,
  { forNeighbours = [], onError }: RouteOptions = {},
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
        const call = { who: principal, params, query, body, request, reply } as unknown as Call<Route>;
        const answer = await request.life.inTime(handler(call)).catch((error: unknown) => {
          onError?.(request, `${route.method} ${route.path}`, error);
          throw error;
        });
        if (reply.sent || answer === reply) return reply;
        return reply.code(route.status ?? 200).send(answer);
      },
    });
  }
}
