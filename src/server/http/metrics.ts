import type { FastifyInstance } from 'fastify';
import { requireScope } from '../access/principal.ts';
import type { Pool } from '../pool/pool.ts';
import type { Meters } from './meters.ts';

/**
 * `GET /metrics` for Prometheus: tasks by state, workers, requests, and the process itself. What measures takes 20 MB:
 * it is loaded at the first scrape, and counts requests from then on.
 */
export function registerMetrics(app: FastifyInstance, pool: Pool): void {
  let loading: Promise<Meters> | undefined;
  let meters: Meters | undefined;
  app.addHook('onResponse', async (request, reply) => {
    meters?.observe(request.routeOptions.url ?? 'none', reply.statusCode, reply.elapsedTime / 1000);
  });
  app.get('/metrics', async (request, reply) => {
    requireScope(request.principal, 'read');
    loading ??= import('./meters.ts').then((module) => module.createMeters());
    meters = await loading;
    const { contentType, text } = await meters.render(await pool.status(request.principal));
    return reply.type(contentType).send(text);
  });
}
