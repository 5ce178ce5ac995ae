import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import fastify, { type FastifyInstance } from 'fastify';
import { peerRoutes } from '../../ground/protocol/peer-routes.ts';
import { API, type Route } from '../../ground/protocol/route.ts';
import { routes } from '../../ground/protocol/routes.ts';
import { schemaOf } from '../web/route-schema.ts';

/** A listener of its own that only describes the API. It is never given a socket. */
export async function describeApi(version: string): Promise<FastifyInstance> {
  const app = fastify({ ajv: { customOptions: { strict: false } } });
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Pilotage',
        version,
        description: 'Tokens travel as Authorization: Bearer. Errors are application/problem+json with a stable code.',
      },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
      security: [{ token: [] }],
    },
  });
  await app.register(swaggerUi, {
    routePrefix: '/api/docs',
    staticCSP: true,
    uiConfig: { validatorUrl: null } as object,
  });
  for (const [name, route] of Object.entries({ ...routes, ...peerRoutes }) as [string, Route][]) {
    app.route({
      method: route.method,
      url: API + route.path,
      schema: schemaOf(route, name),
      handler: async () => undefined,
    });
  }
  await app.ready();
  return app;
}
