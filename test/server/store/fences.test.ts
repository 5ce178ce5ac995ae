/** Whose an attempt is: what a worker names, shows and tells counts for what was given to it, and for nothing else. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sha256 } from '../../../src/server/store/secrets.ts';
import type { Store } from '../../../src/server/store/store.ts';
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

describe.each(openStores())('fences on %s', (_name, open) => {
  let opened: OpenedStore;
  let store: Store;
  let projects: { id: number; name: string }[];
  let clients: ReturnType<typeof storeClients>;
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
    for (const name of ['bob', 'eve']) await store.createProject({ name, owner: name });
    projects = await store.listProjects();
    clients = storeClients(store, idOf('bob'));
  });
  afterAll(() => opened.close());
  const idOf = (name: string): number => projects.find((project) => project.name === name)?.id as number;

  /** A task of one attempt whose worker was given up for lost: queued again, and the attempt may still report. */
  const lostTask = async (spec: Parameters<typeof step>[0] = {}) => {
    const [submission] = await clients.submit(step(spec));
    const worker = await clients.newWorker(1, { lease: NO_LEASE });
    const [claim] = (await worker.exchange()).claims;
    await store.rescueExpired();
    expect((await taskOf(submission))?.state).toBe('queued');
    return { submission: submission as number, worker, claim: claim as ClaimRow };
  };
  const taskOf = (submission: number | undefined) => store.getTask({ submission: submission as number, idx: 1 });

  test('a queued task whose worker was lost comes back to that worker, and to nobody else who names it', async () => {
    const { submission, worker, claim } = await lostTask();
    const stranger = await clients.newWorker(1);
    const named = await stranger.exchange({ number: 0, held: [heldOf(claim)], most: 0 });
    expect([named.drop, named.claims]).toEqual([[keyOf(claim)], []]);
    expect((await taskOf(submission))?.state).toBe('queued');
    const back = await worker.exchange({ held: [heldOf(claim)], lease: LEASE });
    expect([back.drop, back.claims]).toEqual([[], []]);
    expect((await taskOf(submission))?.state).toBe('running');
    expect((await worker.exchange({ reports: [reportOf(claim)], lease: LEASE })).answers).toEqual(['accepted']);
  });

  test('a new session has what its old one had only if it shows the old secret', async () => {
    const { submission, worker, claim } = await lostTask();
    const held = [keyOf(claim)];
    const liar = await clients.newWorker(1, { replaces: { session: worker.session, held, secret: 'guessed' } });
    expect((await liar.exchange({ number: 0, held: [heldOf(claim)], most: 0 })).drop).toEqual(held);
    expect((await taskOf(submission))?.state).toBe('queued');
    const next = await clients.newWorker(1, { replaces: { session: worker.session, held } });
    // And the one after it, which never heard of what became of it.
    const last = await clients.newWorker(1, { replaces: { session: next.session, held } });
    expect((await last.exchange({ held: [heldOf(claim)] })).drop).toEqual([]);
    expect((await taskOf(submission))?.state).toBe('running');
    expect((await last.exchange({ reports: [reportOf(claim)] })).answers).toEqual(['accepted']);
  });

  test('a worker gets nothing of a project that whoever asks may not enter any more; what it ran still counts', async () => {
    const [first, second, third] = await clients.submit(step(), step(), step());
    const worker = await clients.newWorker(2);
    const { claims } = await worker.exchange({ mayEnter: ['bob'] });
    expect(claims.map(({ submission_id: id }) => id)).toEqual([first, second]);
    const [ran, unseen] = claims as [ClaimRow, ClaimRow];
    // The reply got lost: it names one of them, and asks under the same number.
    const again = await worker.exchange({ number: 1, held: [heldOf(ran)], mayEnter: ['eve'] });
    expect([again.claims, again.drop]).toEqual([[], []]);
    expect((await taskOf(second))?.state).toBe('queued');
    expect((await store.getTask({ submission: unseen.submission_id, idx: 1 }))?.attempts).toMatchObject([
      { outcome: 'released' },
    ]);
    const told = await worker.exchange({ reports: [reportOf(ran)], mayEnter: ['eve'] });
    expect([told.answers, told.claims]).toEqual([['accepted'], []]);
    expect((await worker.exchange({ mayEnter: [] })).claims).toEqual([]);
    const more = await worker.exchange({ mayEnter: ['bob', 'eve'] });
    expect(more.claims.map(({ submission_id: id }) => id)).toEqual([second, third]);
    await worker.exchange({ reports: more.claims.map((claim) => reportOf(claim)), most: 0 });
  });

  test('who may enter more than the worker registered for gets no more for it', async () => {
    const [submission] = await clients.submit(step());
    const worker = await clients.newWorker(1, { projects: [idOf('eve')] });
    expect((await worker.exchange({ mayEnter: ['bob', 'eve'] })).claims).toEqual([]);
    expect((await worker.exchange({ mayEnter: null })).claims).toEqual([]);
    await clients.drain();
    expect((await taskOf(submission))?.state).toBe('succeeded');
  });

  test('a lost worker that comes back has lost its project too', async () => {
    const { submission, worker, claim } = await lostTask();
    const back = await worker.exchange({ held: [heldOf(claim)], mayEnter: ['eve'], lease: LEASE });
    expect([back.drop, back.claims]).toEqual([[keyOf(claim)], []]);
    expect((await taskOf(submission))?.state).toBe('queued');
    await clients.drain();
  });

  test('a late report is kept if it shows the secret of its attempt, whoever came first', async () => {
    const { submission, worker, claim } = await lostTask({ spec: JSON.stringify({ retry: { limit: 0 } }) });
    const second = await clients.newWorker(1);
    const [retried] = (await second.exchange()).claims;
    expect(retried?.attempt).toBe(2);
    const eve = await clients.newWorker(1);
    const forged = { ...reportOf(claim), message: 'forged', secretHash: sha256('guess') };
    expect((await eve.exchange({ reports: [forged], most: 0 })).answers).toEqual(['wrong-secret']);
    const late = { ...reportOf(claim), message: 'true' };
    expect((await worker.exchange({ reports: [late], most: 0, lease: LEASE })).answers).toEqual(['stale-attempt']);
    await second.exchange({ reports: [reportOf(retried as ClaimRow, 'failed')], most: 0 });
    expect((await taskOf(submission))?.state).toBe('failed');
    expect(await store.acceptLate({ submission, idx: 1, attempt: null })).toBe('accepted');
    const detail = await store.getTask({ submission, idx: 1 });
    expect(detail?.attempts.find(({ attempt }) => attempt === 1)).toMatchObject({ message: 'true' });
  });

  test('of an attempt that was cancelled too', async () => {
    const [submission] = await clients.submit(step());
    const worker = await clients.newWorker(1);
    const [claim] = (await worker.exchange()).claims;
    await store.endTasks({ submission: submission as number, idx: 1, as: 'cancelled', limit: 1 });
    await store.retryTasks({ submission: submission as number, idx: 1, failedOnly: false });
    const second = await clients.newWorker(1);
    expect((await second.exchange()).claims).toMatchObject([{ attempt: 2 }]);
    const forged = { ...reportOf(claim as ClaimRow), secretHash: sha256('guess') };
    expect((await second.exchange({ reports: [forged], most: 0 })).answers).toEqual(['wrong-secret']);
    const late = reportOf(claim as ClaimRow);
    expect((await worker.exchange({ reports: [late], most: 0 })).answers).toEqual(['stale-attempt']);
  });
});
