import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Store } from '../../../src/server/store/store.ts';
import { arrayStep, heldOf, LEASE, openStores, reportOf, step, storeClients } from '../../support/open-stores.ts';

describe.each(openStores())('gates, polls and loading on %s', (_name, open) => {
  let store: Store;
  let projectId: number;
  let close: () => Promise<void>;
  let clients: ReturnType<typeof storeClients>;
  beforeAll(async () => {
    ({ store, close } = await open());
    projectId = (await store.createProject({ name: 'p', owner: 'o' })).id;
    clients = storeClients(store, projectId);
  });
  afterAll(() => close());
  beforeEach(async () => {
    for (const id of await store.unfinished({ projectId })) await store.endSubmission({ id, as: 'cancelled' });
    await clients.settle();
  });

  const loading = async (requestId: string, ...steps: Parameters<Store['submit']>[0]['steps']) => {
    const result = await store.submit({ projectId, owner: 'o', requestId, open: true, steps });
    if (!result.ok) throw new Error('refused');
    return [...result.ids];
  };
  /** Lets the tasks of a submission end as told, all at once. */
  const runAll = async (id: number, outcome: 'succeeded' | 'failed') => {
    const { exchange } = await clients.newWorker(1000);
    const { claims } = await exchange();
    expect(claims.every((claim) => claim.submission_id === id)).toBe(true);
    await exchange({ reports: claims.map((claim) => reportOf(claim, outcome)), most: 0 });
    await clients.settle();
  };

  test('what was loaded while its dependency finished is released when it is complete', async () => {
    const [first] = await clients.submit(step());
    const [late] = await loading('late', arrayStep(3, { after: [{ submission: first!, idx: null }] }));
    await runAll(first!, 'succeeded');
    await store.openSubmissions({ ids: [late!] });
    await clients.settle();
    expect(await clients.countsOf(late!)).toMatchObject({ waiting: 0, queued: 3 });
    await clients.drain();
  });

  test('a step without tasks is fulfilled when its request is complete', async () => {
    const ids = await loading('empty', step({ items: null }), step({ after: [{ step: 0 }] }));
    await clients.settle();
    await store.openSubmissions({ ids });
    await clients.settle();
    expect(await clients.countsOf(ids[1]!)).toMatchObject({ waiting: 0, queued: 1 });
    await clients.drain();
  });

  test('a dependent of a failure that was mended can be retried, and waits again while it is not mended', async () => {
    const [first] = await clients.submit(arrayStep(2));
    const [after] = await clients.submit(arrayStep(2, { after: [{ submission: first!, idx: null }] }));
    await runAll(first!, 'failed');
    expect(await clients.countsOf(after!)).toMatchObject({ failed: 2, waiting: 0 });
    await store.retryTasks({ submission: after!, idx: null, failedOnly: true });
    await clients.settle();
    expect(await clients.countsOf(after!)).toMatchObject({ failed: 2, waiting: 0 });
    await store.retryTasks({ submission: first!, idx: null, failedOnly: true });
    await store.retryTasks({ submission: after!, idx: null, failedOnly: true });
    await clients.settle();
    expect(await clients.countsOf(after!)).toMatchObject({ failed: 0, waiting: 2 });
    await runAll(first!, 'succeeded');
    expect(await clients.countsOf(after!)).toMatchObject({ queued: 2, waiting: 0 });
    await clients.drain();
  });

  test('what comes after a cancelled task ends', async () => {
    const [first] = await clients.submit(arrayStep(2));
    await store.endTasks({ submission: first!, idx: 2, as: 'cancelled', limit: 1 });
    const [after] = await clients.submit(step({ after: [{ submission: first!, idx: 2 }] }));
    await clients.settle();
    expect(await clients.countsOf(after!)).toMatchObject({ failed: 1, waiting: 0 });
    await clients.drain();
  });

  test('a dependency that is fulfilled while its dependent is being cancelled does not hold a later retry', async () => {
    const [first] = await clients.submit(step());
    const [after] = await clients.submit(step({ after: [{ submission: first!, idx: null }] }));
    const { exchange } = await clients.newWorker(1);
    const { claims } = await exchange();
    await store.endSubmission({ id: after!, as: 'cancelled' });
    await exchange({ reports: claims.map((claim) => reportOf(claim)), most: 0 });
    await clients.settle();
    await store.retryTasks({ submission: after!, idx: null, failedOnly: false });
    await store.releaseDue();
    expect(await clients.countsOf(after!)).toMatchObject({ cancelled: 0, waiting: 0, queued: 1 });
    await clients.drain();
  });

  test('a poll that began with a heartbeat claims what is queued while it is open', async () => {
    const { exchange } = await clients.newWorker(1, { lease: { ...LEASE, heartbeatMs: 0 } });
    expect((await exchange({ number: 5 })).claims).toHaveLength(0);
    await clients.submit(step());
    expect((await exchange({ number: 5 })).claims).toHaveLength(1);
    await expect(exchange({ number: 4 })).rejects.toThrow('stale');
  });

  test('a worker reserved for a wide task that another one took is not kept idle by a wide task that waits', async () => {
    const [small] = await clients.submit(arrayStep(2));
    const { exchange } = await clients.newWorker(2);
    const { claims } = await exchange({ most: 1 });
    const held = claims.map(heldOf);
    const [wide] = await clients.submit(step({ cpus: 2 }));
    const [gated] = await clients.submit(step({ cpus: 2, after: [{ submission: small!, idx: null }] }));
    expect((await exchange({ held, reserveAfterMs: -1 })).claims).toHaveLength(0);
    const other = await clients.newWorker(2);
    const taken = await other.exchange({ most: 1, reserveAfterMs: -1 });
    expect(taken.claims.map((claim) => claim.submission_id)).toEqual([small]);
    await other.exchange({ reports: taken.claims.map((claim) => reportOf(claim)), most: 0 });
    const takenWide = await other.exchange({ most: 1 });
    expect(takenWide.claims.map((claim) => claim.submission_id)).toEqual([wide]);
    const [more] = await clients.submit(step());
    expect((await exchange({ held, reserveAfterMs: 1e12 })).claims.map((claim) => claim.submission_id)).toEqual([more]);
    expect(await clients.countsOf(gated!)).toMatchObject({ waiting: 1 });
    for (const id of [small!, wide!, gated!, more!]) await store.endSubmission({ id, as: 'cancelled' });
    await clients.settle();
  });

  test('what is being removed because nobody completed it can no longer be completed, nor added to', async () => {
    const [id] = await loading('abandoned', step({ items: null }));
    const payloads = Array.from({ length: 10_001 }, () => null);
    await store.addItems({ id: id!, offset: 0, items: { first: 1, payloads, inputs: payloads, digests: [] } });
    expect(await store.removeChunk({ olderThanMs: -1 })).toBe(1);
    const more = { first: 10_002, payloads: [null], inputs: [null], digests: [] };
    expect(await store.addItems({ id: id!, offset: 10_001, items: more })).toMatchObject({ refusal: 'not-open' });
    await store.openSubmissions({ ids: [id!] });
    expect(await clients.countsOf(id!)).toMatchObject({ queued: 0 });
    while ((await store.removeChunk({ olderThanMs: -1 })) > 0);
    expect(await store.getSubmissions({ ids: [id!] })).toEqual([]);
    expect(await clients.drain()).toBe(0);
    const [again] = await loading('abandoned', step());
    expect(again).not.toBe(id);
  });

  test('an array that two repeated requests load at once is loaded once', async () => {
    const [id] = await loading('large', arrayStep(100_000));
    const array = { first: 1, last: 100_000, step: 1 };
    const load = async () => {
      while ((await store.addArrayChunk({ id: id!, array })).left > 0);
    };
    await Promise.all([load(), load()]);
    await Promise.all([store.openSubmissions({ ids: [id!] }), store.openSubmissions({ ids: [id!] })]);
    expect(await clients.countsOf(id!)).toMatchObject({ queued: 100_000 });
    await store.endSubmission({ id: id!, as: 'cancelled' });
    await clients.settle();
    expect(await clients.countsOf(id!)).toMatchObject({ queued: 0, cancelled: 100_000 });
  });

  test('two exchanges of one session at once never get more than the worker has', async () => {
    for (let round = 0; round < 20; round += 1) {
      const [id] = await clients.submit(arrayStep(20));
      const { exchange } = await clients.newWorker(4);
      const replies = await Promise.allSettled([exchange(), exchange(), exchange()]);
      const claims = replies.flatMap((reply) => (reply.status === 'fulfilled' ? reply.value.claims : []));
      expect(claims.length).toBe(4);
      await store.endSubmission({ id: id!, as: 'cancelled' });
      await clients.settle();
    }
  });

  test('a worker that leaves while a poll of it is answered holds nothing afterwards', async () => {
    for (let round = 0; round < 20; round += 1) {
      const [id] = await clients.submit(arrayStep(20));
      const { exchange, leave, session } = await clients.newWorker(4);
      await Promise.allSettled([exchange(), leave(), exchange()]);
      expect(await store.findWorker(session)).toMatchObject({ state: 'ended' });
      expect(await clients.countsOf(id!)).toMatchObject({ running: 0, queued: 20 });
      await store.endSubmission({ id: id!, as: 'cancelled' });
      await clients.settle();
    }
  });
});
