import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { shapeKey } from '../../../src/server/core/shape.ts';
import { sha256 } from '../../../src/server/store/secrets.ts';
import type { Store } from '../../../src/server/store/store.ts';
import type { RecordedJob } from '../../../src/server/store/verbs/merge-record.ts';
import {
  type ClaimRow,
  heldOf,
  keyOf,
  LEASE,
  NO_LEASE,
  type OpenedStore,
  openStores,
  reportOf,
  step,
  storeClients,
} from '../../support/open-stores.ts';

const TOTAL = { cpus: 1000, memory: 0, gpus: 0, named: {} };
const SECRET = 's3cret';
const SITE = shapeKey({
  kind: 'site',
  cpus: 1,
  memory: 0,
  gpus: 0,
  named: {},
  labels: { 'site:cluster': 'yes' },
  timeRequestSeconds: 0,
});

describe.each(openStores())('jobs on %s', (_name, open) => {
  let opened: OpenedStore;
  let store: Store;
  let project: number;
  let uid: string;
  let count = 0;

  beforeAll(async () => {
    opened = await open();
    store = opened.store;
    await store.createProject({ name: 'jobs', owner: 'o' });
    project = (await store.listProjects()).find(({ name }) => name === 'jobs')?.id as number;
    uid = await store.projectUid({ projectId: project, fresh: 'project-uid-1' });
  });
  afterAll(() => opened.close());

  const create = async (over: { requestId?: string; uid?: string; projectId?: number } = {}) => {
    count += 1;
    const made = await store.createJob({
      uid: over.uid ?? `uid-of-job-${count}`,
      name: 'a job',
      site: 'cluster',
      command: '["true"]',
      entries: [],
      submission: {
        projectId: over.projectId ?? project,
        owner: 'o',
        requestId: over.requestId ?? `job-${count}`,
        open: false,
        steps: [step({ shapeKey: SITE, spec: '{"command":["true"],"site":{"name":"cluster"}}' })],
      },
    });
    if (!made.ok) throw new Error('refused');
    return made.number;
  };
  const jobOf = async (number: string) => {
    const row = await store.getJob({ projectId: project, number });
    if (!row) throw new Error(`no job ${number}`);
    return row;
  };
  const agent = async (
    name: string,
    over: { lease?: typeof LEASE; replaces?: { session: string; held: ClaimRow[] } } = {},
  ) => {
    const session = `${name}-${++count}`;
    await store.registerWorker({
      session,
      secretHash: sha256(SECRET),
      tokenId: 1,
      name: session,
      host: 'h',
      pid: 1,
      zone: null,
      share: null,
      version: '0',
      kinds: ['site'],
      total: JSON.stringify(TOTAL),
      labels: '{"site:cluster":"yes"}',
      projects: null,
      remainingSeconds: null,
      batchHold: true,
      replaces: over.replaces
        ? { session: over.replaces.session, secretHash: sha256(SECRET), held: over.replaces.held.map(keyOf) }
        : null,
      lease: over.lease ?? LEASE,
    });
    let number = 0;
    const exchange = async (rest: object = {}) => {
      const result = await store.exchange({
        session,
        sessionSecret: SECRET,
        number: ++number,
        held: [],
        compare: false,
        reports: [],
        logs: [],
        free: TOTAL,
        ahead: 0,
        most: 100,
        lease: over.lease ?? LEASE,
        reserveAfterMs: 1e12,
        mayEnter: null,
        ...rest,
      });
      if (result.kind !== 'done') throw new Error(result.kind);
      return result;
    };
    return { session, exchange };
  };
  const recorded = (over: Partial<RecordedJob>): RecordedJob => ({
    uid: 'uid-unknown',
    parent: null,
    number: '1',
    name: null,
    owner: 'o',
    state: 'COMPLETED',
    reason: null,
    command: null,
    createdAt: 1000,
    startedAt: null,
    finishedAt: 2000,
    entries: [],
    digest: JSON.stringify(over),
    ...over,
  });
  const merge = (jobs: RecordedJob[], projectUid = uid) => store.mergeRecord({ projectId: project, projectUid, jobs });
  const answers = async (jobs: RecordedJob[]) => {
    const result = await merge(jobs);
    if (!result.ok) throw new Error(result.refusal);
    return result.jobs.map(({ answer }) => answer);
  };
  const entry = (id: string, kind = 'step') => ({ id, kind, body: JSON.stringify({ id, kind }) });

  /** Leaves nothing queued for the tests after it. */
  const finishAll = async () => {
    const { exchange } = await agent('finisher');
    const { claims } = await exchange();
    await exchange({ reports: claims.map((claim) => reportOf(claim)), most: 0 });
  };

  test('are numbered in their project, and a repeated request is the same job', async () => {
    const number = await create({ requestId: 'same' });
    expect(await create({ requestId: 'same' })).toBe(number);
    expect(await create()).toBe(String(Number(number) + 1));
    const row = await jobOf(number);
    const [spec] = await store.getSpecs({ ids: [row.submission_id as number] });
    expect(JSON.parse(spec?.spec ?? '').site).toEqual({ name: 'cluster', job: { number, uid: row.uid } });
    await finishAll();
  });

  test('are claimed by an agent of their site alone', async () => {
    await create();
    const clients = storeClients(store, project, `plain-${count}`);
    const worker = await clients.newWorker(100);
    expect((await worker.exchange()).claims).toEqual([]);
    const { exchange } = await agent('cluster');
    const { claims } = await exchange();
    expect(claims.length).toBe(1);
    await exchange({ reports: claims.map((claim) => reportOf(claim)) });
  });

  test('are not lost by the silence of their agent, nor when it leaves; a plain task of a silent worker is', async () => {
    const number = await create();
    const clients = storeClients(store, project, `plain-${count}`);
    await clients.submit(step());
    const plain = await clients.newWorker(1, { lease: NO_LEASE });
    const [lost] = (await plain.exchange()).claims as [ClaimRow];
    const silent = await agent('silent', { lease: NO_LEASE });
    const [claim] = (await silent.exchange()).claims as [ClaimRow];
    await store.rescueExpired();
    const stateOf = async (row: ClaimRow) =>
      (await store.getTask({ submission: row.submission_id, idx: row.idx }))?.state;
    expect([await stateOf(lost), await stateOf(claim)]).toEqual(['queued', 'running']);
    await store.leaveWorker({ session: silent.session, sessionSecret: SECRET });
    expect((await jobOf(number)).task_state).toBe('running');
    // It comes back, and what it holds is its own again.
    const back = await agent('back', { replaces: { session: silent.session, held: [claim] } });
    expect((await back.exchange({ held: [heldOf(claim)] })).drop).toEqual([]);
    await back.exchange({ reports: [reportOf(claim)] });
    expect((await jobOf(number)).task_state).toBe('succeeded');
    await clients.drain();
  });

  test('that an agent claimed and does not know of any more are handed out again', async () => {
    const number = await create();
    const first = await agent('first');
    const [claim] = (await first.exchange()).claims as [ClaimRow];
    const second = await agent('second', { replaces: { session: first.session, held: [] } });
    const { claims } = await second.exchange();
    expect(claims.map(({ attempt }) => attempt)).toEqual([claim.attempt + 1]);
    const task = await store.getTask({ submission: claim.submission_id, idx: 1 });
    expect([task?.losses, task?.attempts.map(({ outcome }) => outcome)]).toEqual([0, ['released']]);
    await second.exchange({ reports: claims.map((one) => reportOf(one)) });
    expect((await jobOf(number)).task_state).toBe('succeeded');
  });

  test('tell where they are', async () => {
    const number = await create();
    const { exchange } = await agent('teller', { lease: { ...LEASE, heartbeatMs: 0 } });
    const [claim] = (await exchange()).claims as [ClaimRow];
    const site = JSON.stringify({ phase: 'pending', batchId: '7' });
    await exchange({ held: [{ ...heldOf(claim), site }] });
    expect((await jobOf(number)).site_state).toBe(site);
    await exchange({ held: [{ ...heldOf(claim), progress: '{"fraction":0.5}' }] });
    const row = await jobOf(number);
    expect([row.site_state, row.progress]).toEqual([site, '{"fraction":0.5}']);
    await exchange({ reports: [reportOf(claim)] });
  });

  test('a record merged twice changes nothing the second time', async () => {
    const number = await create();
    const job = await jobOf(number);
    const jobs = [
      recorded({ uid: job.uid, number, entries: [entry('a'), entry('b')] }),
      recorded({ uid: `${job.uid}-sub`, parent: job.uid, number: `${number}.1`, entries: [entry('c')] }),
    ];
    expect(await answers(jobs)).toEqual(['merged', 'merged']);
    expect(await answers(jobs)).toEqual(['unchanged', 'unchanged']);
    const merged = await jobOf(number);
    expect(merged.entries.map((body) => JSON.parse(body).id)).toEqual(['a', 'b']);
    expect(merged.jobs.map((sub) => [sub.number, sub.state])).toEqual([[`${number}.1`, 'COMPLETED']]);
    await finishAll();
  });

  test('a record of a foreign project, or of a job that belongs nowhere, is refused, whole', async () => {
    const number = await create();
    const { uid: mine } = await jobOf(number);
    const sub = recorded({ uid: `${mine}-sub`, parent: mine, number: `${number}.1` });
    expect(await merge([sub], 'another')).toEqual({ ok: false, refusal: 'foreign-project' });
    const orphan = recorded({ uid: `${mine}-orphan`, parent: 'uid-nowhere', number: '9.9' });
    expect(await merge([sub, orphan])).toEqual({ ok: false, refusal: 'orphan' });
    await store.createProject({ name: 'other', owner: 'o' });
    const other = (await store.listProjects()).find(({ name }) => name === 'other')?.id as number;
    await create({ projectId: other, uid: 'uid-of-other' });
    expect(await merge([recorded({ uid: 'uid-of-other' })])).toEqual({ ok: false, refusal: 'foreign-project' });
    expect((await jobOf(number)).jobs).toEqual([]);
    await finishAll();
  });

  test('what ended here keeps its state, and what came late is kept aside; notes about its end are written down', async () => {
    const number = await create();
    const { uid: mine, submission_id: submission } = await jobOf(number);
    await store.endTasks({ submission: submission as number, idx: 1, as: 'cancelled', limit: 1 });
    const late = recorded({ uid: mine, number, entries: [entry('step'), entry('note', 'note')] });
    expect(await answers([late])).toEqual(['late']);
    expect(await answers([late])).toEqual(['unchanged']);
    const row = await jobOf(number);
    expect(row.task_state).toBe('cancelled');
    expect(row.entries.map((body) => JSON.parse(body).id)).toEqual(['note']);
    expect(row.late.length).toBe(1);
    // A sub-job that ended stays as it ended.
    const open = await create();
    const parent = (await jobOf(open)).uid;
    const sub = recorded({ uid: `${parent}-s`, parent, number: `${open}.1`, state: 'FAILED', reason: 'it broke' });
    expect(await answers([sub])).toEqual(['merged']);
    expect(await answers([{ ...sub, state: 'COMPLETED', entries: [entry('x')], digest: 'd2' }])).toEqual(['late']);
    expect((await jobOf(open)).jobs.map(({ state, reason }) => [state, reason])).toEqual([['FAILED', 'it broke']]);
    await finishAll();
  });

  test('a sub-job that goes on is brought up to date', async () => {
    const number = await create();
    const parent = (await jobOf(number)).uid;
    const sub = recorded({ uid: `${parent}-r`, parent, number: `${number}.1`, state: 'RUNNING', finishedAt: null });
    expect(await answers([sub])).toEqual(['merged']);
    expect(await answers([{ ...sub, state: 'COMPLETED', finishedAt: 5000 }])).toEqual(['merged']);
    expect((await jobOf(number)).jobs.map(({ state }) => state)).toEqual(['COMPLETED']);
    await finishAll();
  });

  test('a number that is taken here makes way for a new one', async () => {
    const number = await create();
    const parent = (await jobOf(number)).uid;
    const sub = (id: string) => recorded({ uid: `${parent}-${id}`, parent, number: `${number}.1` });
    await answers([sub('a')]);
    await answers([sub('b')]);
    const top = recorded({ uid: `${parent}-top`, number });
    await answers([top]);
    expect((await jobOf(number)).jobs.map((job) => job.number)).toEqual([`${number}.1`, `${number}.2`]);
    const moved = await jobOf(String(Number(number) + 1));
    expect(moved.uid).toBe(`${parent}-top`);
    await finishAll();
  });

  test('expire with what they ran as, and are still known', async () => {
    const number = await create();
    await finishAll();
    await storeClients(store, project, `s-${count}`).settle();
    const { submission_id: submission } = await jobOf(number);
    expect(await store.forgetSubmission({ id: submission as number })).toBe('forgotten');
    expect((await jobOf(number)).state).toBe('EXPIRED');
  });
});
