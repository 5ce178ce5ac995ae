import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ServiceChange } from '../../../src/server/core/service-job.ts';
import { sha256 } from '../../../src/server/store/secrets.ts';
import type { Store } from '../../../src/server/store/store.ts';
import type { ChangeFacts } from '../../../src/server/store/verbs/change-service-jobs.ts';
import { type OpenedStore, openStores } from '../../support/open-stores.ts';
import { waitUntil } from '../../support/wait-until.ts';

const LEASE_MS = 60_000;

describe.each(openStores())('services on %s', (_name, open) => {
  let opened: OpenedStore;
  let store: Store;
  let projectId: number;
  let count = 0;
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
    await store.createProject({ name: 'services', owner: 'o' });
    projectId = (await store.listProjects()).find(({ name }) => name === 'services')?.id as number;
  });
  afterAll(() => opened.close());

  const host = async (name: string, over: { leaseMs?: number; takeOver?: number; archiveMs?: number | null } = {}) => {
    const secretHash = sha256(`secret-${++count}`);
    const { leaseMs = LEASE_MS, takeOver = null, archiveMs = null } = over;
    const made = await store.hostService({
      projectId,
      name,
      title: null,
      schema: '{}',
      incoming: '/in',
      archiveMs,
      mostWaiting: null,
      mostOfOwner: null,
      expireMs: archiveMs === null ? null : archiveMs + 1,
      host: '{"host":"h","pid":1}',
      secretHash,
      leaseMs,
      takeOver,
    });
    if (!made.ok) return { refused: made.row };
    const key = { projectId, name, number: made.number, secretHash };
    const poll = async (after = 0) => store.pollService({ ...key, leaseMs, after, most: 100 });
    const changes = (...all: [number, ServiceChange, ChangeFacts?][]) =>
      store.changeServiceJobs({
        ...key,
        leaseMs,
        changes: all.map(([jobId, change, facts = {}]) => ({ jobId, change, facts })),
      });
    /** Through these states, each begun and confirmed. */
    const lead = async (id: number, ...states: string[]) => {
      let step = (await rowOf(id)).step;
      for (const to of states) {
        const begun = { kind: 'begin', step, to } as ServiceChange;
        step += 1;
        const done = await changes([id, begun], [id, { kind: 'arrive', step }], [id, { kind: 'settle', step }]);
        expect(done?.results[0], to).toMatchObject({ ok: true });
      }
    };
    return { id: made.id, number: made.number, key, poll, changes, lead };
  };
  type TestHost = Exclude<Awaited<ReturnType<typeof host>>, { refused: unknown }>;
  const hosted = async (...how: Parameters<typeof host>) => (await host(...how)) as TestHost;

  const add = async (serviceId: number, over: { requestId?: string; after?: string[]; directory?: string } = {}) => {
    const made = await store.createServiceJob({
      projectId,
      serviceId,
      uid: randomUUID(),
      name: "any 'name' $(x) \"\n",
      owner: 'o',
      requestId: over.requestId ?? `request-${++count}`,
      linkHash: 'hash',
      contact: null,
      parameters: '{}',
      directory: over.directory ?? null,
      inputs: [],
      after: over.after ?? [],
    });
    if (!made.ok) throw new Error(made.refusal);
    return made.number;
  };
  const jobOf = async (number: string) => {
    const row = await store.getServiceJob({ projectId, number });
    if (!row) throw new Error(`no job ${number}`);
    return row;
  };
  const rowOf = async (id: number) => {
    const rows = await store.listJobs({ projectId, before: null, limit: 10_000 });
    return jobOf(rows.find((row) => row.id === id)?.number ?? '');
  };
  const idOf = async (number: string) => (await jobOf(number)).job_id;
  const wish = (numbers: string[], what: 'cancel' | 'fail' | 'resubmit' | 'delete') =>
    store.wishServiceJobs({ projectId, wish: what, reason: null, numbers, serviceId: null });

  test('a request that made a job of one service makes none of another, and is not answered with the first', async () => {
    const [one, two] = [await hosted('asked-first'), await hosted('asked-second')];
    const job = {
      projectId,
      uid: randomUUID(),
      name: null,
      owner: 'o',
      requestId: 'one request for two',
      linkHash: 'hash',
      contact: null,
      parameters: '{}',
      directory: null,
      inputs: [],
      after: [],
    };
    const first = await store.createServiceJob({ ...job, serviceId: one.id });
    expect(await store.createServiceJob({ ...job, uid: randomUUID(), serviceId: one.id })).toEqual(first);
    expect(await store.createServiceJob({ ...job, uid: randomUUID(), serviceId: two.id })).toEqual({
      ok: false,
      refusal: 'request-taken',
    });
    expect(await store.countServiceJobs({ serviceId: two.id })).toEqual({});
  });

  test('a service has one host, and a second one learns who has it', async () => {
    const first = await hosted('one');
    expect(await host('one')).toMatchObject({ refused: { host: '{"host":"h","pid":1}' } });
    const second = await hosted('one', { takeOver: first.number });
    expect(second.number).toBe(first.number + 1);
    expect(await first.poll()).toBe(null);
    expect(await second.poll()).toMatchObject({ jobs: [] });
  });

  test('a host whose lease is over goes on, unless somebody took its place', async () => {
    const silent = await hosted('lease', { leaseMs: -1 });
    expect(await silent.poll()).not.toBe(null);
    const next = await hosted('lease');
    expect(await silent.changes()).toBe(null);
    expect(await store.leaveService({ ...silent.key, reason: 'x' })).toBe(null);
    expect(await store.leaveService({ ...next.key, reason: 'the disk is full' })).toBe(0);
    expect(await store.getService({ projectId, name: 'lease' })).toMatchObject({ end_reason: 'the disk is full' });
    expect(await next.poll()).toBe(null);
    await hosted('lease');
  });

  test('the secret of a session is asked for', async () => {
    const { key } = await hosted('secret');
    const stolen = { ...key, secretHash: sha256('guessed') };
    expect(await store.changeServiceJobs({ ...stolen, leaseMs: 1, changes: [] })).toBe(null);
  });

  test('a replaced host changes nothing any more', async () => {
    const old = await hosted('fence');
    const id = await idOf(await add(old.id));
    const next = await hosted('fence', { takeOver: old.number });
    expect(await old.changes([id, { kind: 'begin', step: 0, to: 'PREPROCESSING' }])).toBe(null);
    expect((await rowOf(id)).intent).toBe(null);
    expect((await next.poll())?.jobs.map(({ job_id: one }) => one)).toEqual([id]);
  });

  test('a request that is repeated makes one job', async () => {
    const { id } = await hosted('once');
    const number = await add(id, { requestId: 'the same' });
    expect(await add(id, { requestId: 'the same' })).toBe(number);
  });

  test('a directory is that of one job', async () => {
    const { id } = await hosted('directory');
    await add(id, { directory: '/in/a' });
    await expect(add(id, { directory: '/in/a' })).rejects.toThrow('directory-taken');
    await add(id, { directory: '/in/b' });
  });

  test('a change is begun, confirmed, and the same said again changes nothing', async () => {
    const one = await hosted('changes');
    const number = await add(one.id);
    const id = await idOf(number);
    const begun: ServiceChange = { kind: 'begin', step: 0, to: 'PREPROCESSING' };
    for (let twice = 0; twice < 2; twice += 1) {
      expect(await one.changes([id, begun, { target: '/srv/running/job' }])).toMatchObject({ results: [{ ok: true }] });
      expect(await jobOf(number)).toMatchObject({
        state: 'INCOMING',
        intent: 'PREPROCESSING',
        target: '/srv/running/job',
      });
    }
    for (let twice = 0; twice < 2; twice += 1) {
      await one.changes([id, { kind: 'arrive', step: 1 }, { directory: '/srv/running/job' }]);
      const row = await jobOf(number);
      expect(row).toMatchObject({
        state: 'PREPROCESSING',
        intent: null,
        target: null,
        directory: '/srv/running/job',
        step: 1,
      });
      expect(Object.keys(JSON.parse(row.times))).toEqual(['INCOMING', 'PREPROCESSING']);
    }
    expect(await one.changes([id, begun])).toMatchObject({ results: [{ ok: false, refusal: 'stale' }] });
  });

  test('one bad change does not keep the others from being made', async () => {
    const one = await hosted('batch');
    const [a, b] = [await idOf(await add(one.id)), await idOf(await add(one.id))];
    const done = await one.changes(
      [a, { kind: 'begin', step: 0, to: 'EXPIRED' }],
      [999_999, { kind: 'tell', step: 0 }],
      [b, { kind: 'begin', step: 0, to: 'PREPROCESSING' }],
    );
    expect(done?.results).toMatchObject([{ refusal: 'illegal' }, { refusal: 'unknown' }, { ok: true }]);
  });

  test('a failure keeps its hook and its stack, and goes with a resubmission', async () => {
    const one = await hosted('failure');
    const number = await add(one.id);
    const id = await idOf(number);
    await one.lead(id, 'PREPROCESSING');
    const failure = JSON.stringify({ hook: 'preprocess', message: 'no', stack: 'at x' });
    await one.changes([
      id,
      { kind: 'begin', step: 1, to: 'FAILED' },
      { failure, reason: 'preprocess: no', metadata: '{"n":1}' },
    ]);
    await one.changes([id, { kind: 'arrive', step: 2 }]);
    expect(await jobOf(number)).toMatchObject({ state: 'FAILED', failure, active: 0 });
    expect(await store.getJob({ projectId, number })).toMatchObject({ reason: 'preprocess: no', state: 'FAILED' });
    expect(await wish([number], 'resubmit')).toMatchObject({ wished: [{ number }], refused: [] });
    expect((await one.poll())?.jobs).toMatchObject([{ number, wish: 'resubmit' }]);
    await one.lead(id, 'INCOMING');
    expect(await jobOf(number)).toMatchObject({
      state: 'INCOMING',
      failure: null,
      wish: null,
      metadata: '{"n":1}',
      ended_at: null,
    });
    expect(await store.getJob({ projectId, number })).toMatchObject({ reason: null, finished_at: null });
    expect(await wish([number], 'resubmit')).toMatchObject({ refused: [{ number, state: 'INCOMING' }] });
  });

  test('a job that comes after others is let go when all of them are complete', async () => {
    const [one, other] = [await hosted('first'), await hosted('second')];
    const parents = [await add(one.id), await add(one.id)] as const;
    const child = await add(other.id, { after: [...parents] });
    expect((await other.poll())?.jobs).toEqual([]);
    const all = ['PREPROCESSING', 'RUNNING', 'POSTPROCESSING', 'FINALIZING', 'COMPLETED'];
    await one.lead(await idOf(parents[0]), ...all);
    expect(await jobOf(child)).toMatchObject({ waiting: 1, active: 0, waitsFor: [parents[1]] });
    // Skipped, and nothing written into its metadata.
    await one.lead(await idOf(parents[1]), 'PREPROCESSING', 'COMPLETED');
    expect(await jobOf(child)).toMatchObject({ waiting: 0, active: 1, waitsFor: [] });
    expect((await other.poll())?.jobs).toMatchObject([{ number: child }]);
  });

  test.each(['FAILED', 'CANCELLED'] as const)(
    'what a job comes after is %s: it fails with that reason',
    async (end) => {
      const one = await hosted(`ends-${end.toLowerCase()}`);
      const parent = await add(one.id);
      const child = await add(one.id, { after: [parent] });
      await one.lead(await idOf(parent), end);
      expect(await jobOf(child)).toMatchObject({
        wish: 'fail',
        wish_reason: `it comes after job ${parent}, which is ${end}`,
      });
      await one.lead(await idOf(child), 'FAILED');
      expect(await wish([child], 'resubmit')).toMatchObject({ wished: [], refused: [{ number: child }] });
      await expect(add(one.id, { after: [parent] })).rejects.toThrow('ended-badly');
      await wish([parent], 'resubmit');
      await one.lead(await idOf(parent), 'INCOMING');
      expect(await wish([child], 'resubmit')).toMatchObject({ wished: [{ number: child }] });
    },
  );

  test('jobs whose time is over are told to their host once, and times that change count for all', async () => {
    const one = await hosted('retention', { archiveMs: 3_600_000 });
    const number = await add(one.id);
    const id = await idOf(number);
    await one.lead(id, 'PREPROCESSING', 'COMPLETED');
    const row = await jobOf(number);
    expect(row.due_at).toBe((row.ended_at ?? 0) + 3_600_000);
    const next = await hosted('retention', { archiveMs: 0, takeOver: one.number });
    expect((await next.poll())?.jobs).toMatchObject([{ number, wish: 'archive' }]);
    await next.lead(id, 'ARCHIVED');
    // Its time is a millisecond away, by the database's clock.
    const jobs = await waitUntil('its time has come', async () => {
      const found = (await next.poll())?.jobs ?? [];
      return found.length > 0 && found;
    });
    expect(jobs).toMatchObject([{ number, wish: 'expire' }]);
    await next.lead(id, 'EXPIRED');
    expect((await next.poll())?.jobs).toEqual([]);
  });

  test('nothing stays of a job that was deleted, and what waited for it fails', async () => {
    const one = await hosted('deleted');
    const parent = await add(one.id);
    const child = await add(one.id, { after: [parent] });
    expect(await wish([parent], 'delete')).toMatchObject({ refused: [{ number: parent, state: 'INCOMING' }] });
    const id = await idOf(parent);
    await one.lead(id, 'CANCELLED');
    expect(await one.changes([id, { kind: 'gone', step: 1 }])).toMatchObject({ results: [{ ok: true }] });
    expect(await store.getJob({ projectId, number: parent })).toBe(null);
    expect(await one.changes([id, { kind: 'gone', step: 1 }])).toMatchObject({ results: [{ refusal: 'unknown' }] });
    expect(await jobOf(child)).toMatchObject({ wish: 'fail' });
  });

  test('jobs at sites and jobs of services are one list', async () => {
    const { id } = await hosted('listed');
    const number = await add(id);
    const rows = await store.listJobs({ projectId, before: null, limit: 10, service: 'listed', states: ['INCOMING'] });
    expect(rows).toMatchObject([{ number, service: 'listed', state: 'INCOMING' }]);
    expect(await store.listJobs({ projectId, before: null, limit: 10, service: 'listed', states: ['FAILED'] })).toEqual(
      [],
    );
  });
});
