import type { FastifyInstance } from 'fastify';

/**
 * OpenAPI 3.1 at `/api/v1/openapi.json`, and a page that shows it at `/api/docs`, with no file from anywhere else. What
 * makes them takes 30 MB: it is loaded when somebody first looks.
 */
export function registerDocuments(app: FastifyInstance, version: string): void {
  let described: Promise<FastifyInstance> | undefined;
  const load = async () => (await import('./describe-api.ts')).describeApi(version);
  app.route({
    method: 'GET',
    url: '/api/v1/openapi.json',
    handler: async (_request, reply) => {
      described ??= load();
      return reply.send((await described).swagger());
    },
  });
  for (const url of ['/api/docs', '/api/docs/*']) {
    app.get(url, async (request, reply) => {
      described ??= load();
      const page = await (await described).inject({ method: 'GET', url: request.url });
      for (const name of ['content-type', 'content-security-policy', 'location', 'cache-control']) {
        const value = page.headers[name];
        if (value !== undefined) reply.header(name, value);
      }
      return reply.code(page.statusCode).send(page.rawPayload);
    });
  }
}
