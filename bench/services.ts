import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import { routes } from '../src/ground/protocol/routes.ts';
import { type BenchServer, median, startServer } from './server.ts';

const JOBS = 1000;
const PAST = 100_000;
const LANES = 10;
const LOOKS = 50;
const FAR = 8_000_000_000_000;
const at = { project: 'default', service: 'empty' };

/** Every hook is there and does nothing; each state has a directory of its own. */
const MODULE = `import { defineService, nothing, Type } from 'pilotage/service';
export default defineService({ name: 'empty', parameters: Type.Object({}), preprocess() {}, run: () => nothing(), postprocess() {},
  finalize() {}, complete() {}, archive() {}, expire() {} });
`;
const STATES = ['preprocessing', 'running', 'postprocessing', 'finalizing', 'completed', 'archived', 'failed'];
const CONFIG = `directories: { ${STATES.map((state) => `${state}: ${state}`).join(', ')} }\nretention: { archive: 0s, expire: 0s }\n`;

export interface Services {
  /** From the first job added to the last one expired; with so many slots. */
  readonly perSecond: ReadonlyMap<number, number>;
  /** A page of the queue with counts, in ms, of a service with so many jobs that are over. */
  readonly queueMs: number;
  /** The host's look for jobs whose time is over, in ms. */
  readonly sweepMs: number;
}

export async function services(): Promise<Services> {
  const perSecond = new Map<number, number>();
  for (const slots of [5, 50]) perSecond.set(slots, await emptyJobs(slots));
  return { perSecond, ...(await pastJobs()) };
}

async function emptyJobs(slots: number): Promise<number> {
  const home = serviceHome(`${CONFIG}limits: { running: ${slots} }\n`);
  const server = await startServer();
  try {
    await host(server, home);
    const begun = performance.now();
    const lane = async (): Promise<void> => {
      for (let n = 0; n < JOBS / LANES; n += 1)
        await server.client.call(routes.createServiceJob, { params: at, body: {} });
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    const expired = async (): Promise<number> =>
      (await server.client.call(routes.service, { params: at })).counts.EXPIRED ?? 0;
    while ((await expired()) < JOBS) await pause(100);
    const seconds = (performance.now() - begun) / 1000;
    await witness(server, home);
    return JOBS / seconds;
  } finally {
    await server.stop();
    rmSync(home, { recursive: true, force: true });
  }
}

/** Each job was in each state, and nothing of it is left on the disk. */
async function witness(server: BenchServer, home: string): Promise<void> {
  const { jobs } = await server.client.call(routes.jobs, { params: { project: at.project }, query: { limit: JOBS } });
  for (const { number } of jobs) {
    const { serviceJob } = await server.client.call(routes.job, { params: { project: at.project, number } });
    const seen = Object.keys(serviceJob?.times ?? {}).length;
    if (seen !== STATES.length + 1) throw new Error(`job ${number} was seen in ${seen} states`);
  }
  const left = STATES.flatMap((state) => readdirSync(join(home, state)));
  if (left.length > 0) throw new Error(`directories were left: ${left.slice(0, 3).join(', ')}`);
}

async function pastJobs(): Promise<{ queueMs: number; sweepMs: number }> {
  const home = serviceHome('retention: { archive: 30d }\n');
  const data = mkdtempSync(join(tmpdir(), 'pilotage-bench-'));
  const server = await startServer({ data });
  try {
    await host(server, home);
    fill(join(data, 'pilotage.db'));
    const query = { limit: 100 };
    const queueMs = await measure(() => server.client.call(routes.serviceQueue, { params: at, query }));
    const { session, secret } = await takeOver(server);
    const params = { ...at, session: String(session) };
    const headers = { 'x-pilotage-session': secret };
    const body = { after: 0, nudged: 0, waitSeconds: 0 };
    const sweepMs = await measure(() => server.client.call(routes.pollService, { params, headers, body }));
    return { queueMs, sweepMs };
  } finally {
    await server.stop();
    for (const directory of [home, data]) rmSync(directory, { recursive: true, force: true });
  }
}

/** In place of the host that is there, to ask what it asks. */
async function takeOver({ client }: BenchServer) {
  const { host: now, parameters } = await client.call(routes.service, { params: at });
  const facts = { host: 'bench', pid: process.pid, process: 'bench', version: 'bench' };
  const body = { host: facts, title: null, parameters, incoming: null, archiveSeconds: 2_592_000, expireSeconds: null };
  return client.call(routes.hostService, { params: at, body: { ...body, takeOver: now?.session ?? 0 } });
}

function fill(file: string): void {
  const database = new DatabaseSync(file, { timeout: 60_000 });
  const numbers = `(with recursive c(n) as (select 1 union all select n + 1 from c where n < ${PAST}) select n from c)`;
  database.exec(`insert into jobs (project_id, uid, number, owner, state, created_at, finished_at)
    select (select id from projects where name = 'default'), 'uid-' || n, cast(n as text), 'o',
      case n % 4 when 0 then 'EXPIRED' when 1 then 'ARCHIVED' else 'COMPLETED' end, 1, 2 from ${numbers};
    insert into service_jobs (job_id, service_id, link_hash, parameters, times, ended_at, active, touched, due_at)
    select id, (select id from services where name = 'empty'), 'h', '{}', '{}', 2, 0, id,
      case state when 'EXPIRED' then null else ${FAR} end from jobs where uid like 'uid-%';
    analyze`);
  database.close();
}

async function measure(act: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let look = 0; look < LOOKS; look += 1) {
    const begun = performance.now();
    await act();
    times.push(performance.now() - begun);
  }
  return median(times);
}

function serviceHome(config: string): string {
  const home = mkdtempSync(join(tmpdir(), 'pilotage-bench-service-'));
  writeFileSync(join(home, 'service.ts'), MODULE);
  writeFileSync(join(home, 'service.yaml'), config);
  mkdirSync(join(home, 'incoming'));
  return home;
}

async function host(server: BenchServer, home: string): Promise<void> {
  server.start('--server', server.url, '--token-file', join(server.data, 'admin-token'), 'service', 'run', home);
  const isHosted = async (): Promise<boolean> =>
    (await server.client.call(routes.services, { params: { project: at.project } })).some((one) => one.host !== null);
  while (!(await isHosted())) await pause(50);
}
