import type { FastifyInstance } from 'fastify';
import type { Store } from '../store/store.ts';

/** `/healthz`: reached without a token, says whether the database answers and nothing else. */
export function registerHealth(app: FastifyInstance, store: Store): void {
  app.get('/healthz', { config: { open: true }, schema: { hide: true } }, async (_request, reply) => {
    await store.listProjects();
    return reply.send({ status: 'ok' });
  });
}
