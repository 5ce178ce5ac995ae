import { collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

export interface Meters {
  observe(route: string, status: number, seconds: number): void;
  render(status: {
    readonly counts: Readonly<Record<string, number>>;
    readonly workers: { readonly alive: number; readonly draining: number; readonly cpus: number };
  }): Promise<{ contentType: string; text: string }>;
}

export function createMeters(): Meters {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const tasks = new Gauge({ name: 'pilotage_tasks', help: 'Tasks by state', labelNames: ['state'], registers });
  const workers = new Gauge({ name: 'pilotage_workers', help: 'Workers by state', labelNames: ['state'], registers });
  const cpus = new Gauge({ name: 'pilotage_worker_cpus', help: 'Cores that workers offer', registers });
  const requests = new Histogram({
    name: 'pilotage_request_seconds',
    help: 'Time to answer a request, long polls included',
    labelNames: ['route', 'status'],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 30],
    registers,
  });
  return {
    observe: (route, status, seconds) => requests.observe({ route, status: String(status) }, seconds),
    async render(status) {
      for (const [state, n] of Object.entries(status.counts)) tasks.set({ state }, n);
      workers.set({ state: 'alive' }, status.workers.alive);
      workers.set({ state: 'draining' }, status.workers.draining);
      cpus.set(status.workers.cpus);
      return { contentType: registry.contentType, text: await registry.metrics() };
    },
  };
}
