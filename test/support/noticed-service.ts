import { randomUUID } from 'node:crypto';
import type { JobState } from '../../src/ground/base/job-state.ts';
import type { ServiceChange } from '../../src/server/core/service-job.ts';
import { sha256 } from '../../src/server/store/secrets.ts';
import type { Store } from '../../src/server/store/store.ts';
import type { StoredChange } from '../../src/server/store/verbs/change-service-jobs.ts';
import type { HostInput } from '../../src/server/store/verbs/services.ts';

export const TOLD = { admins: ['admin@example.org'], users: true, webhooks: [] as string[] };
const WAY = ['PREPROCESSING', 'RUNNING', 'POSTPROCESSING', 'FINALIZING', 'COMPLETED', 'ARCHIVED', 'EXPIRED'] as const;
let count = 0;

/** A service straight on a store, whose host does what a test says. */
export async function noticedService(store: Store, over: Partial<HostInput> = {}) {
  const name = over.name ?? `noticed-${++count}`;
  await store.createProject({ name: 'noticed', owner: 'o' });
  const projectId = (await store.listProjects()).find((one) => one.name === 'noticed')?.id as number;
  const secretHash = sha256('secret');
  const host = async (more: Partial<HostInput> = {}) => {
    const made = await store.hostService({
      projectId,
      name,
      title: null,
      schema: '{}',
      incoming: null,
      archiveMs: null,
      expireMs: null,
      mostWaiting: null,
      mostOfOwner: null,
      told: TOLD,
      host: '{"host":"node","pid":7}',
      secretHash,
      leaseMs: 600_000,
      takeOver: null,
      ...over,
      ...more,
    });
    if (!made.ok) throw new Error('hosted already');
    return made;
  };
  const first = await host();
  const key = { projectId, name, number: first.number, secretHash };

  const change = (...changes: StoredChange[]) => store.changeServiceJobs({ ...key, leaseMs: 600_000, changes });
  const add = async (contact: string | null = 'user@example.org', jobName: string | null = null) => {
    const uid = randomUUID();
    const made = await store.createServiceJob({
      projectId,
      serviceId: first.id,
      uid,
      name: jobName,
      owner: 'o',
      requestId: uid,
      linkHash: 'h',
      contact,
      parameters: '{}',
      directory: null,
      inputs: [],
      after: [],
    });
    if (!made.ok) throw new Error(made.refusal);
    const row = await store.getServiceJob({ projectId, number: made.number });
    return { number: made.number, id: row?.job_id as number, uid };
  };
  const step = async (number: string) => (await store.getServiceJob({ projectId, number }))?.step as number;
  /** One change of state, begun and confirmed; settled besides unless told otherwise. */
  const go = async (
    job: { id: number; number: string },
    to: JobState,
    { isSettled = true, ...more }: Partial<Pick<StoredChange, 'facts' | 'mail'>> & { isSettled?: boolean } = {},
  ) => {
    const at = await step(job.number);
    const facts = more.facts ?? {};
    const begin: ServiceChange = { kind: 'begin', step: at, to };
    await change(
      { jobId: job.id, change: begin, facts },
      { jobId: job.id, change: { kind: 'arrive', step: at + 1 }, facts: {} },
      ...(isSettled ? [{ jobId: job.id, change: { kind: 'settle', step: at + 1 } as const, facts: {}, ...more }] : []),
    );
  };
  const lead = async (job: { id: number; number: string }, last: JobState, more: Parameters<typeof go>[2] = {}) => {
    for (const to of WAY) {
      await go(job, to, to === last ? more : {});
      if (to === last) return;
    }
  };
  const fail = (
    job: { id: number; number: string },
    message = 'oh no',
    stack = `Error: ${message}\n    at run (service.ts:7:9)`,
  ) => go(job, 'FAILED', { facts: { failure: JSON.stringify({ hook: 'run', message, stack }) }, isSettled: false });
  const failNew = async (message?: string) => {
    const job = await add(null);
    await fail(job, message);
    return job;
  };
  return { projectId, id: first.id, name, key, host, change, add, go, lead, fail, failNew };
}
