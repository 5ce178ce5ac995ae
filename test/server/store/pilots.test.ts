import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { shapeKey } from '../../../src/server/core/shape.ts';
import { openPostgres } from '../../../src/server/store/postgres/open-postgres.ts';
import { attemptSecret, sha256 } from '../../../src/server/store/secrets.ts';
import type { Store } from '../../../src/server/store/store.ts';
import type { PilotPlan } from '../../../src/server/store/verbs/pilots.ts';
import {
  arrayStep,
  heldOf,
  LEASE,
  type OpenedStore,
  openStores,
  reportOf,
  step,
  storeClients,
} from '../../support/open-stores.ts';

const SECRET = 's3cret';
const PLAN: PilotPlan = { slots: 4, wallTimeSeconds: 7200, untilIdleSeconds: 60 };

describe.each(openStores())('pilots on %s', (_name, open) => {
  let opened: OpenedStore;
  let store: Store;
  let project: number;
  let clients: ReturnType<typeof storeClients>;
  let count = 0;

  /** A database for each test: workers of one would run the tasks of the next. */
  beforeEach(async () => {
    count += 1;
    opened = await open();
    store = opened.store;
    await store.createProject({ name: `project-${count}`, owner: 'o' });
    project = (await store.listProjects()).find(({ name }) => name === `project-${count}`)?.id as number;
    clients = storeClients(store, project, `c${count}`);
  });
  afterEach(() => opened.close());

  let round = 0;
  const balance = (of: Store = store) => of.balancePilots({ fresh: `round-${++round}` });
  const set = (over: Partial<PilotPlan> & { max?: number; site?: string } = {}) => {
    const { max = 20, site = 'cluster', ...plan } = over;
    return store.setPilots({ site, most: max, plan: { ...PLAN, ...plan }, owner: 'o' });
  };
  /** Rounds until nothing more is queued. Returns how many pilots were. */
  const settle = async (): Promise<number> => {
    for (let sum = 0; ; ) {
      const { queued } = await balance();
      if (queued === 0) return sum;
      sum += queued;
    }
  };
  const agent = async (site = 'cluster') => {
    const session = `agent-${++round}`;
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
      total: JSON.stringify({ cpus: 1000, memory: 0, gpus: 0, named: {} }),
      labels: JSON.stringify({ [`site:${site}`]: 'yes' }),
      projects: null,
      remainingSeconds: null,
      batchHold: true,
      replaces: null,
      lease: LEASE,
    });
    let number = 0;
    const exchange = async (over: object = {}) => {
      const result = await store.exchange({
        session,
        sessionSecret: SECRET,
        number: ++number,
        held: [],
        compare: false,
        reports: [],
        logs: [],
        free: { cpus: 1000, memory: 0, gpus: 0, named: {} },
        ahead: 0,
        most: 100,
        lease: LEASE,
        reserveAfterMs: 1e12,
        mayEnter: null,
        ...over,
      });
      if (result.kind !== 'done') throw new Error(result.kind);
      return result;
    };
    return { exchange };
  };
  const pilotComes = async (pilot: number, total = { cpus: 4, memory: 2 ** 33, gpus: 0, named: {} }) => {
    const session = `pilot-${++round}`;
    await store.registerWorker({
      session,
      secretHash: sha256(SECRET),
      tokenId: 0,
      name: session,
      host: 'node7',
      pid: 1,
      zone: null,
      share: null,
      version: '0',
      kinds: ['command'],
      total: JSON.stringify(total),
      labels: '{}',
      projects: null,
      remainingSeconds: 7000,
      pilot,
      replaces: null,
      lease: LEASE,
    });
    return { session, leave: () => store.leaveWorker({ session, sessionSecret: SECRET }) };
  };
  const settingsOf = async (site = 'cluster') => (await store.listPilots()).settings.find((row) => row.site === site);
  /** An agent takes up what is queued, and each pilot ends without having come. */
  const failAll = async (message: string, node?: string) => {
    const { exchange } = await agent();
    const { claims } = await exchange();
    const site = node === undefined ? null : JSON.stringify({ phase: 'running', node });
    const reports = claims.map((claim) => ({ ...reportOf(claim, 'failed'), message, site }));
    await exchange({ held: claims.map(heldOf), reports });
    return claims.length;
  };

  test('without a backlog no pilot is sent', async () => {
    await set();
    expect(await settle()).toBe(0);
    expect(await settingsOf()).toMatchObject({ wanted: 0 });
  });

  test('the first two show whether a site works, then come as many as the backlog fills', async () => {
    await set();
    await clients.submit(arrayStep(20));
    expect(await settle()).toBe(2);
    expect(await settingsOf()).toMatchObject({ wanted: 5 });
    const [first] = (await store.listPilots()).pilots;
    await pilotComes(first?.submission_id as number);
    // Five of four slots: one is there, two are on their way or there, two more.
    expect(await settle()).toBe(3);
    expect(await balance()).toEqual({ queued: 0, surplus: [] });
  });

  test('there are never more than allowed', async () => {
    await set({ max: 3 });
    await clients.submit(arrayStep(100_000));
    await settle();
    await pilotComes((await store.listPilots()).pilots[0]?.submission_id as number);
    await settle();
    expect((await store.listPilots()).pilots).toHaveLength(3);
  });

  test('what workers have free for them needs no pilot', async () => {
    await set();
    await clients.newWorker(16);
    await clients.submit(arrayStep(16));
    expect(await settle()).toBe(0);
    await clients.submit(arrayStep(1));
    expect(await settle()).toBe(1);
  });

  test('tasks that no such pilot could run bring none: too wide, too long, other labels, another project', async () => {
    await set({ projects: [`project-${count}`] });
    const shape = {
      kind: 'command' as const,
      cpus: 1,
      memory: 0,
      gpus: 0,
      named: {},
      labels: {},
      timeRequestSeconds: 0,
    };
    await clients.submit(
      arrayStep(5, { shapeKey: shapeKey({ ...shape, cpus: 5 }) }),
      arrayStep(5, { shapeKey: shapeKey({ ...shape, timeRequestSeconds: 7200 }) }),
      arrayStep(5, { shapeKey: shapeKey({ ...shape, labels: { disk: 'fast' } }) }),
      arrayStep(5, { shapeKey: shapeKey({ ...shape, kind: 'payload' }) }),
    );
    await store.createProject({ name: `other-${count}`, owner: 'o' });
    const other = (await store.listProjects()).find(({ name }) => name === `other-${count}`)?.id as number;
    await storeClients(store, other, `other-${count}`).submit(arrayStep(5));
    expect(await settle()).toBe(0);
    await clients.submit(arrayStep(5, { shapeKey: shapeKey({ ...shape, timeRequestSeconds: 6000 }) }));
    expect(await settle()).toBe(2);
  });

  const narrow = {
    kind: 'command' as const,
    cpus: 1,
    memory: 0,
    gpus: 0,
    named: {},
    labels: {},
    timeRequestSeconds: 0,
  };
  const ofShape = (memory: number) => ({ shapeKey: shapeKey({ ...narrow, memory }) });

  test('of many small submissions as many are counted as a site can take', async () => {
    await set({ max: 1000 });
    await clients.submit(...Array.from({ length: 300 }, () => step()), arrayStep(4, ofShape(1)));
    await settle();
    expect(await settingsOf()).toMatchObject({ wanted: 76 });
  });

  test('a thousand different shapes each bring what they are worth', async () => {
    await set({ max: 1000, memory: 2 ** 40 });
    await clients.submit(...Array.from({ length: 1000 }, (_, at) => arrayStep(2, ofShape(at + 1))));
    await settle();
    expect(await settingsOf()).toMatchObject({ wanted: 500 });
  });

  // On two busy cores some 1 ms and 20 ms; before shapes were asked for together, 100 to 300 ms.
  test.each([
    ['a million tasks of one shape', () => [arrayStep(1_000_000)]],
    ['a million of a thousand shapes', () => Array.from({ length: 1000 }, (_, at) => arrayStep(1000, ofShape(at + 1)))],
    ['20 single tasks of each of 500 shapes', () => Array.from({ length: 10_000 }, (_, at) => step(ofShape(at % 500)))],
  ])('a round with %s queued is over at once', async (_what, steps) => {
    await set({ max: 1000, memory: 2 ** 40 });
    const all = steps();
    for (let at = 0; at < all.length; at += 1000) await clients.submit(...all.slice(at, at + 1000));
    await clients.settle();
    const times: number[] = [];
    for (let at = 0; at < 9; at += 1) {
      const begun = performance.now();
      await balance();
      times.push(performance.now() - begun);
    }
    expect(times.sort((a, b) => a - b)[4]).toBeLessThan(250);
  });

  test('a site that is full leaves the rest to the next one', async () => {
    await set({ max: 1 });
    await set({ site: 'second', max: 1 });
    await clients.submit(arrayStep(100));
    expect(await settle()).toBe(2);
    expect((await store.listPilots()).pilots.map(({ site }) => site).sort()).toEqual(['cluster', 'second']);
  });

  test('pilots that nobody needs any more are called off before they begin', async () => {
    await set();
    const [id = 0] = await clients.submit(arrayStep(20));
    expect(await settle()).toBe(2);
    await store.endSubmission({ id, as: 'cancelled' });
    await clients.settle();
    const { surplus } = await balance();
    expect(surplus).toHaveLength(2);
  });

  test('one that waits in a batch system keeps its place while the backlog is gone for a moment', async () => {
    await set({ max: 1 });
    const [id = 0] = await clients.submit(arrayStep(20));
    await settle();
    const { exchange } = await agent();
    const { claims } = await exchange();
    await exchange({ held: claims.map((claim) => ({ ...heldOf(claim), site: '{"phase":"pending"}' })) });
    await store.endSubmission({ id, as: 'cancelled' });
    await clients.settle();
    expect((await balance()).surplus).toEqual([]);
    expect((await store.listPilots()).pilots[0]?.unwanted_since).not.toBeNull();
    await clients.submit(arrayStep(1));
    await balance();
    expect((await store.listPilots()).pilots[0]?.unwanted_since).toBeNull();
  });

  test('a pilot that came and left is no failure, and its credential works while its attempt runs', async () => {
    await set({ max: 1, projects: [`project-${count}`] });
    await clients.submit(step());
    await settle();
    const { exchange } = await agent();
    const { claims } = await exchange();
    const [claim] = claims;
    if (!claim) throw new Error('no claim');
    const { submission_id: submission, attempt } = claim;
    const secretHash = sha256(attemptSecret(SECRET, submission, 1, attempt));
    const credential = () => store.findAttemptCredential({ submission, idx: 1, attempt, secretHash });
    expect(await credential()).toMatchObject({ pilot: { projects: [`project-${count}`] } });
    const pilot = await pilotComes(submission);
    await pilot.leave();
    await exchange({ held: [heldOf(claim)], reports: [reportOf(claim)] });
    await balance();
    expect(await credential()).toBeNull();
    expect((await store.listPilots()).ended).toContainEqual({
      site: 'cluster',
      outcome: 'worked',
      n: expect.any(Number),
    });
    expect(await settingsOf()).toMatchObject({ failures: 0, cool_until: 0, proven: 1 });
  });

  test('after two in a row that came to nothing the site rests: a minute, then two, with the last reason', async () => {
    await set({ max: 1 });
    await clients.submit(arrayStep(20));
    await settle();
    expect(await failAll('Slurm refused the job: invalid partition')).toBe(1);
    expect((await balance()).queued).toBe(1);
    expect(await settingsOf()).toMatchObject({ failures: 1, cool_until: 0 });
    expect(await failAll('Slurm refused the job: invalid partition')).toBe(1);
    expect((await balance()).queued).toBe(0);
    const row = await settingsOf();
    expect(row).toMatchObject({ failures: 2, last_reason: 'Slurm refused the job: invalid partition' });
    expect((row?.cool_until ?? 0) - (row?.last_failed_at ?? 0)).toBe(60_000);
    await store.pausePilots({ site: 'cluster', paused: false });
    expect((await balance()).queued).toBe(1);
  });

  test('a node on which two came to nothing is left out', async () => {
    await set({ max: 1 });
    await clients.submit(arrayStep(20));
    await settle();
    await failAll('no', 'node13');
    await balance();
    await failAll('no', 'node13');
    await balance();
    expect(JSON.parse((await settingsOf())?.nodes ?? '')).toMatchObject({ node13: { failures: 2 } });
  });

  test('paused, nothing is sent; resumed, it is', async () => {
    await set();
    await store.pausePilots({ site: 'cluster', paused: true });
    await clients.submit(arrayStep(20));
    expect(await settle()).toBe(0);
    await store.pausePilots({ site: 'cluster', paused: false });
    expect(await settle()).toBe(2);
  });

  test('memory that a plan leaves to the node is as much as the last pilot had', async () => {
    await set({ max: 5 });
    const wide = {
      kind: 'command' as const,
      cpus: 1,
      memory: 2 ** 40,
      gpus: 0,
      named: {},
      labels: {},
      timeRequestSeconds: 0,
    };
    const [id = 0] = await clients.submit(step({ shapeKey: shapeKey(wide) }));
    expect(await settle()).toBe(1);
    await pilotComes((await store.listPilots()).pilots[0]?.submission_id as number);
    expect(await settle()).toBe(0);
    await store.endSubmission({ id, as: 'cancelled' });
  });

  test('two servers that balance at once send no pilot twice', async () => {
    const second = opened.url === undefined ? store : await openPostgres(opened.url, () => undefined);
    await set();
    await clients.submit(arrayStep(8));
    const rounds = await Promise.all(Array.from({ length: 12 }, (_, at) => balance(at % 2 === 0 ? store : second)));
    expect(rounds.reduce((sum, { queued }) => sum + queued, 0)).toBe(2);
    expect((await store.listPilots()).pilots).toHaveLength(2);
    if (second !== store) await second.close();
  });

  test('twenty thousand queued tasks are balanced by their counts', async () => {
    await set();
    const [id = 0] = await clients.submit({ ...arrayStep(1), array: { first: 1, last: 20_000, step: 1 } });
    const began = performance.now();
    await balance();
    expect(performance.now() - began).toBeLessThan(500);
    await store.endSubmission({ id, as: 'cancelled' });
  });
});
