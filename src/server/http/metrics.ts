import type { FastifyInstance } from 'fastify';
import { collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { requireScope } from '../access/principal.ts';
import type { Pool } from '../pool/pool.ts';

/** `GET /metrics` for Prometheus: tasks by state, workers, requests, and the process itself. */
export function registerMetrics(app: FastifyInstance, pool: Pool): void {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const tasks = new Gauge({
    name: 'pilotage_tasks',
    help: 'Tasks by state',
    labelNames: ['state'],
    registers: [registry],
  });
  const workers = new Gauge({
    name: 'pilotage_workers',
    help: 'Workers by state',
    labelNames: ['state'],
    registers: [registry],
  });
  const cpus = new Gauge({ name: 'pilotage_worker_cpus', help: 'Cores that workers offer', registers: [registry] });
  const requests = new Histogram({
    name: 'pilotage_request_seconds',
    help: 'Time to answer a request, long polls included',
    labelNames: ['route', 'status'],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 30],
    registers: [registry],
  });
  app.addHook('onResponse', async (request, reply) => {
    requests.observe(
      { route: request.routeOptions.url ?? 'none', status: String(reply.statusCode) },
      reply.elapsedTime / 1000,
    );
  });
  app.get('/metrics', { schema: { hide: true } }, async (request, reply) => {
    requireScope(request.principal, 'read');
    const status = await pool.status(request.principal);
    for (const [state, n] of Object.entries(status.counts)) tasks.set({ state }, n);
    workers.set({ state: 'alive' }, status.workers.alive);
    workers.set({ state: 'draining' }, status.workers.draining);
    cpus.set(status.workers.cpus);
    return reply.type(registry.contentType).send(await registry.metrics());
  });
}
