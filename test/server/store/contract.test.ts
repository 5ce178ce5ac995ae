import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { attemptSecret, sha256 } from '../../../src/server/store/secrets.ts';
import type { Store } from '../../../src/server/store/store.ts';
import type { StoredReport } from '../../../src/server/store/verbs/stored-report.ts';
import type { NewSubmission } from '../../../src/server/store/verbs/submissions.ts';
import { LEASE, NO_LEASE, openStores, step } from '../../support/open-stores.ts';

describe.each(openStores())('the contract of the store on %s', (_name, open) => {
  let store: Store;
  let close: () => Promise<void>;
  let projectId: number;
  let requests = 0;
  let sessions = 0;
  beforeAll(async () => {
    ({ store, close } = await open());
    projectId = (await store.createProject({ name: 'p', owner: 'o' })).id;
  });
  afterAll(() => close());

  const idsOf = (result: Awaited<ReturnType<Store['submit']>>) => {
    if (!result.ok) throw new Error('refused');
    return result.ids as number[];
  };
  const submit = async (...steps: NewSubmission[]) =>
    idsOf(await store.submit({ projectId, owner: 'o', requestId: `request-${++requests}`, open: false, steps }));
  const worker = async (total = { cpus: 4, memory: 1e9, gpus: 0, named: {} }, lease = LEASE) => {
    const session = `session-${++sessions}`;
    await store.registerWorker({
      session,
      secretHash: sha256('s3cret'),
      tokenId: 1,
      name: session,
      host: 'h',
      pid: 1,
      zone: null,
      share: null,
      version: '0',
      kinds: ['command'],
      total: JSON.stringify(total),
      labels: '{}',
      projects: null,
      remainingSeconds: null,
      replaces: null,
      lease,
    });
    let number = 0;
    const exchange = async (
      over: {
        reports?: StoredReport[];
        held?: object[] | null;
        compare?: boolean;
        number?: number;
        most?: number;
        lease?: typeof LEASE;
        free?: typeof total;
        ahead?: number;
        reserveAfterMs?: number;
      } = {},
    ) => {
      const result = await store.exchange({
        session,
        sessionSecret: 's3cret',
        number: over.number ?? ++number,
        held: (over.held === undefined ? [] : over.held) as never,
        compare: over.compare ?? false,
        reports: over.reports ?? [],
        logs: [],
        free: over.free ?? total,
        ahead: over.ahead ?? 0,
        most: over.most ?? 100,
        lease: over.lease ?? lease,
        reserveAfterMs: over.reserveAfterMs ?? 1e12,
        mayEnter: null,
      });
      if (result.kind !== 'done') throw new Error(result.kind);
      return result;
    };
    return { session, exchange };
  };
  const report = (
    claim: { submission_id: number; idx: number; attempt: number },
    outcome: StoredReport['outcome'] = 'succeeded',
    over: Partial<StoredReport> = {},
  ): StoredReport => ({
    submission: claim.submission_id,
    idx: claim.idx,
    attempt: claim.attempt,
    secretHash: sha256(attemptSecret('s3cret', claim.submission_id, claim.idx, claim.attempt)),
    outcome,
    reason: outcome === 'failed' ? 'exit-code' : null,
    message: null,
    exitCode: outcome === 'failed' ? 1 : 0,
    signal: null,
    startedAt: null,
    wallSeconds: 0.5,
    cpuSeconds: 0.25,
    peakMemory: 1024,
    outputs: null,
    result: null,
    logs: [],
    digests: [],
    checkpoint: null,
    ...over,
  });
  const heldOf = (claim: { submission_id: number; idx: number; attempt: number }) => ({
    submission: claim.submission_id,
    idx: claim.idx,
    attempt: claim.attempt,
    progress: null,
  });
  const fold = async () => {
    while ((await store.foldCounts()).touched.length > 0);
  };
  const stateOf = async (submission: number, idx = 1) => (await store.getTask({ submission, idx }))?.state;
  const countsOf = async (submission: number) => (await store.getSubmissions({ ids: [submission] }))[0]?.counts;
  const drainPool = async () => {
    const { exchange } = await worker({ cpus: 1e6, memory: 1e15, gpus: 0, named: {} });
    for (let claims = (await exchange()).claims; claims.length > 0; )
      claims = (await exchange({ reports: claims.map((claim) => report(claim)), most: 1000 })).claims;
    await fold();
  };

  test('a task is claimed, reported once, and counted', async () => {
    const [id] = await submit(
      step({ items: { first: 1, payloads: ['{"a":1}', '{"a":2}'], inputs: [null, null], digests: [] } }),
    );
    expect(await countsOf(id!)).toMatchObject({ queued: 2, running: 0 });
    const { exchange } = await worker();
    const first = await exchange();
    expect(first.claims.map((claim) => [claim.idx, claim.attempt, claim.payload])).toEqual([
      [1, 1, '{"a":1}'],
      [2, 1, '{"a":2}'],
    ]);
    expect(await countsOf(id!)).toMatchObject({ queued: 0, running: 2 });
    expect((await exchange({ reports: first.claims.map((claim) => report(claim)) })).answers).toEqual([
      'accepted',
      'accepted',
    ]);
    expect(await countsOf(id!)).toMatchObject({ running: 0, succeeded: 2 });
    await fold();
    expect(await countsOf(id!)).toMatchObject({ running: 0, succeeded: 2 });
  });

  test('a repeated report is acknowledged again and changes nothing; a wrong secret is refused', async () => {
    const [id] = await submit(step());
    const { exchange } = await worker();
    const { claims } = await exchange();
    expect(
      (await exchange({ reports: [report(claims[0]!, 'succeeded', { secretHash: sha256('guess') })] })).answers,
    ).toEqual(['wrong-secret']);
    expect(await stateOf(id!)).toBe('running');
    await exchange({ reports: [report(claims[0]!)] });
    expect((await exchange({ reports: [report(claims[0]!, 'failed')] })).answers).toEqual(['accepted']);
    expect(await stateOf(id!)).toBe('succeeded');
    expect((await store.getTask({ submission: id!, idx: 1 }))?.attempts).toHaveLength(1);
  });

  test('two reports of one attempt in one exchange are one report', async () => {
    const [id] = await submit(step());
    const { exchange } = await worker();
    const { claims } = await exchange();
    expect((await exchange({ reports: [report(claims[0]!), report(claims[0]!, 'failed')] })).answers).toEqual([
      'accepted',
      'accepted',
    ]);
    expect(await stateOf(id!)).toBe('succeeded');
  });

  test('a repeated exchange gives the same claims again, with the same secret, and claims nothing twice', async () => {
    const [id] = await submit(step({ array: { first: 1, last: 3, step: 1 }, items: null }));
    const { exchange } = await worker({ cpus: 2, memory: 0, gpus: 0, named: {} });
    const first = await exchange({ number: 7 });
    const again = await exchange({ number: 7 });
    expect(again.claims).toEqual(first.claims);
    expect(first.claims).toHaveLength(2);
    expect(await countsOf(id!)).toMatchObject({ queued: 1, running: 2 });
    await expect(exchange({ number: 6 })).rejects.toThrow('stale');
    expect((await exchange({ number: 8, reports: again.claims.map((claim) => report(claim)) })).answers).toEqual([
      'accepted',
      'accepted',
    ]);
    await drainPool();
  });

  test('claims never exceed what the worker has, whatever it says is free', async () => {
    await submit(step({ array: { first: 1, last: 10, step: 1 }, items: null }));
    const { exchange } = await worker({ cpus: 3, memory: 0, gpus: 0, named: {} });
    expect((await exchange()).claims).toHaveLength(3);
    expect((await exchange({ held: [] })).claims).toHaveLength(0);
    await drainPool();
  });

  test('what does not fit is passed over, and smaller tasks behind it are handed out', async () => {
    const [wide] = await submit(step({ cpus: 8, priority: 100 }));
    const [small] = await submit(step({ cpus: 1 }));
    const { exchange } = await worker({ cpus: 2, memory: 0, gpus: 0, named: {} });
    expect((await exchange()).claims.map((claim) => claim.submission_id)).toEqual([small]);
    expect(await stateOf(wide!)).toBe('queued');
    await drainPool();
  });

  test('higher priority goes first, then the older submission', async () => {
    const ids = [
      ...(await submit(step())),
      ...(await submit(step({ priority: 5 }))),
      ...(await submit(step({ priority: 5 }))),
    ];
    const { exchange } = await worker({ cpus: 1, memory: 0, gpus: 0, named: {} });
    const order: number[] = [];
    for (let claims = (await exchange()).claims; claims.length > 0; ) {
      order.push(claims[0]!.submission_id);
      claims = (await exchange({ reports: [report(claims[0]!)] })).claims;
    }
    expect(order).toEqual([ids[1], ids[2], ids[0]]);
  });

  test('a wide task that waited too long gets a worker to itself', async () => {
    const [small] = await submit(step({ array: { first: 1, last: 4, step: 1 }, items: null }));
    const { exchange } = await worker({ cpus: 2, memory: 0, gpus: 0, named: {} });
    const first = await exchange({ most: 1 });
    const [wide] = await submit(step({ cpus: 2 }));
    // One slot is busy: the wide task cannot run, and the worker takes no smaller one instead.
    expect((await exchange({ reserveAfterMs: -1, held: first.claims.map(heldOf) })).claims).toHaveLength(0);
    const next = await exchange({ reserveAfterMs: -1, reports: [report(first.claims[0]!)] });
    expect(next.claims.map((claim) => claim.submission_id)).toEqual([wide]);
    expect(
      (await exchange({ reports: next.claims.map((claim) => report(claim)) })).claims.map(
        (claim) => claim.submission_id,
      ),
    ).toEqual([small, small]);
    await drainPool();
  });

  test('an expired lease is rescued and charged; the late report counts while nobody claimed the task again', async () => {
    const [id] = await submit(step());
    const hung = await worker(undefined, NO_LEASE);
    const { claims } = await hung.exchange();
    expect(await store.rescueExpired()).toBe(1);
    expect(await store.getTask({ submission: id!, idx: 1 })).toMatchObject({ state: 'queued', attempt: 1, losses: 1 });
    expect((await hung.exchange({ reports: [report(claims[0]!)] })).answers).toEqual(['accepted']);
    expect(await store.getTask({ submission: id!, idx: 1 })).toMatchObject({
      state: 'succeeded',
      attempt: 1,
      losses: 0,
    });
  });

  test('a late report is refused and kept aside when the task was claimed again, and accept makes it the outcome of a failure', async () => {
    const [id] = await submit(step());
    const hung = await worker(undefined, NO_LEASE);
    const late = (await hung.exchange()).claims[0]!;
    await store.rescueExpired();
    const healthy = await worker();
    const [second] = (await healthy.exchange()).claims;
    expect(second).toMatchObject({ submission_id: id, attempt: 2 });
    expect((await hung.exchange({ reports: [report(late)], most: 0 })).answers).toEqual(['stale-attempt']);
    expect((await healthy.exchange({ reports: [report(second!, 'failed')] })).answers).toEqual(['accepted']);
    const detail = await store.getTask({ submission: id!, idx: 1 });
    expect(detail).toMatchObject({ state: 'failed', attempt: 2 });
    expect(detail?.late).toMatchObject([{ attempt: 1, refusal: 'stale-attempt' }]);
    expect(await store.acceptLate({ submission: id!, idx: 1, attempt: null })).toBe('accepted');
    expect(await store.getTask({ submission: id!, idx: 1 })).toMatchObject({ state: 'succeeded' });
    await fold();
    expect(await countsOf(id!)).toMatchObject({ succeeded: 1, failed: 0 });
  });

  test('a worker that was given up for lost and comes back goes on with what nobody claimed', async () => {
    const [id] = await submit(step());
    const hung = await worker(undefined, NO_LEASE);
    const { claims } = await hung.exchange();
    await store.rescueExpired();
    const back = await hung.exchange({ held: claims.map(heldOf), most: 0, lease: LEASE });
    expect(back.drop).toEqual([]);
    expect(await store.getTask({ submission: id!, idx: 1 })).toMatchObject({ state: 'running', attempt: 1, losses: 0 });
    await hung.exchange({ reports: [report(claims[0]!)], lease: LEASE });
    expect(await stateOf(id!)).toBe('succeeded');
  });

  test('one that was given up for lost and does not say what it runs is asked, and gets nothing before it answers', async () => {
    const [id] = await submit(step());
    const hung = await worker(undefined, NO_LEASE);
    const { claims } = await hung.exchange();
    await store.rescueExpired();
    expect(await hung.exchange({ held: null, lease: LEASE })).toMatchObject({ listHeld: true, claims: [], drop: [] });
    expect(await store.getTask({ submission: id!, idx: 1 })).toMatchObject({ state: 'queued', attempt: 1 });
    expect(await hung.exchange({ held: claims.map(heldOf), lease: LEASE })).toMatchObject({
      listHeld: false,
      drop: [],
    });
    expect(await store.getTask({ submission: id!, idx: 1 })).toMatchObject({ state: 'running', attempt: 1 });
    // Nothing to compare: it is not asked again, and may have more.
    const [other] = await submit(step());
    const more = await hung.exchange({ held: null, lease: LEASE });
    expect(more).toMatchObject({ listHeld: false, claims: [{ submission_id: other }] });
    const reports = [...claims, ...more.claims].map((claim) => report(claim));
    expect((await hung.exchange({ held: null, reports, lease: LEASE })).answers).toEqual(['accepted', 'accepted']);
  });

  test('claims of a lost reply are given again to a worker that is never silent, as soon as it asks to be compared', async () => {
    const [id] = await submit(step());
    const { exchange } = await worker();
    const lost = await exchange();
    expect(lost.claims).toMatchObject([{ submission_id: id }]);
    expect(await exchange({ held: null, compare: true })).toMatchObject({ listHeld: true, claims: [] });
    const again = await exchange({ held: [], compare: true });
    expect([again.claims, again.listHeld]).toEqual([lost.claims, false]);
    expect((await exchange({ held: null, reports: [report(lost.claims[0]!)] })).answers).toEqual(['accepted']);
  });

  test('of more than a thousand that were lost the rest comes too', async () => {
    const [id] = await submit(step({ array: { first: 1, last: 1200, step: 1 }, items: null }));
    const { exchange } = await worker({ cpus: 2000, memory: 1e12, gpus: 0, named: {} });
    for (const most of [1000, 1000]) await exchange({ most });
    const first = await exchange({ held: [], compare: true, most: 0 });
    expect(first.claims.length).toBe(1000);
    expect((await exchange({ held: null, most: 0 })).listHeld).toBe(true);
    const rest = await exchange({ held: first.claims.map(heldOf), most: 0 });
    expect([rest.claims.length, rest.drop]).toEqual([200, []]);
    expect((await exchange({ held: null, most: 0 })).listHeld).toBe(false);
    await store.endTasks({ submission: id!, idx: null, as: 'cancelled', limit: 2000 });
  });

  test('an exchange that a later one has overtaken brings its reports home, claims nothing and settles nothing', async () => {
    const [id, other] = await submit(step(), step());
    const { exchange } = await worker({ cpus: 1, memory: 1e9, gpus: 0, named: {} });
    const { claims } = await exchange();
    expect(claims).toMatchObject([{ submission_id: id }]);
    // A later one that was compared and got nothing.
    expect((await exchange({ held: claims.map(heldOf), compare: true, number: 9, most: 0 })).claims).toEqual([]);
    const { sessions } = await store.endTasks({ submission: other!, idx: null, as: 'cancelled', limit: 1 });
    expect(sessions).toEqual([]);
    const [third] = await submit(step());
    expect((await exchange({ held: claims.map(heldOf), number: 8 })).claims).toEqual([]);
    const late = await exchange({ held: [], number: 7, reports: [report(claims[0]!)] });
    expect([late.answers, late.claims, late.drop]).toEqual([['accepted'], [], []]);
    await expect(exchange({ held: [], number: 7 })).rejects.toThrow('stale');
    expect((await exchange({ number: 10 })).claims).toMatchObject([{ submission_id: third }]);
  });

  test('a worker is told to drop what is no longer its own', async () => {
    const [id] = await submit(step());
    const { exchange } = await worker();
    const { claims } = await exchange();
    const { sessions } = await store.endTasks({ submission: id!, idx: 1, as: 'cancelled', limit: 1 });
    await store.alertWorkers({ sessions });
    for (let i = 0; i < 2; i += 1) expect((await exchange({ held: null })).listHeld).toBe(true);
    expect((await exchange({ held: claims.map(heldOf) })).drop).toEqual([{ submission: id, idx: 1, attempt: 1 }]);
    expect((await exchange({ reports: [report(claims[0]!)] })).answers).toEqual(['already-finished']);
    expect(await stateOf(id!)).toBe('cancelled');
  });

  test('three lost workers fail a task, also when the spawner under it is what dies', async () => {
    const [id] = await submit(step());
    for (const loss of [1, 2]) {
      const { exchange } = await worker(undefined, NO_LEASE);
      await exchange();
      await store.rescueExpired();
      expect(await store.getTask({ submission: id!, idx: 1 })).toMatchObject({ state: 'queued', losses: loss });
    }
    const { exchange } = await worker();
    const { claims } = await exchange();
    await exchange({ reports: [report(claims[0]!, 'lost')] });
    expect(await store.getTask({ submission: id!, idx: 1 })).toMatchObject({
      state: 'failed',
      reason: 'worker-lost',
      losses: 3,
    });
  });

  test('retries wait longer each time and end in failure; a planned end and a release are never charged', async () => {
    const [id] = await submit(step({ spec: JSON.stringify({ retry: { limit: 1, backoffSeconds: 0 } }) }));
    const { exchange } = await worker();
    const once = async (outcome: StoredReport['outcome']) => {
      const { claims } = await exchange();
      await exchange({ reports: [report(claims[0]!, outcome)], most: 0 });
      return store.getTask({ submission: id!, idx: 1 });
    };
    expect(await once('released')).toMatchObject({ state: 'queued', failures: 0, losses: 0, planned_ends: 0 });
    expect(await once('ended')).toMatchObject({ state: 'queued', failures: 0, losses: 0, planned_ends: 1 });
    expect(await once('failed')).toMatchObject({ state: 'queued', failures: 1 });
    expect(await once('failed')).toMatchObject({ state: 'failed', failures: 2, reason: 'exit-code', exit_code: 1 });
  });

  test('a back-off holds a task until it is due', async () => {
    const [id] = await submit(step({ spec: JSON.stringify({ retry: { limit: 3, backoffSeconds: 3600 } }) }));
    const { exchange } = await worker();
    const { claims } = await exchange();
    await exchange({ reports: [report(claims[0]!, 'failed')] });
    expect(await stateOf(id!)).toBe('waiting');
    expect(await countsOf(id!)).toMatchObject({ waiting: 1, running: 0 });
    expect(await store.releaseDue()).toBe(0);
    expect((await exchange()).claims).toHaveLength(0);
    await store.endTasks({ submission: id!, idx: 1, as: 'cancelled', limit: 1 });
  });

  test('the same request twice makes one submission', async () => {
    const input = { projectId, owner: 'o', requestId: 'twice', open: false, steps: [step(), step()] };
    const [first, second] = await Promise.all([store.submit(input), store.submit(input)]);
    expect(first).toMatchObject({ ok: true });
    expect(idsOf(second)).toEqual(idsOf(first));
    await drainPool();
  });

  test('nothing of a submission is seen or claimed before it is complete, and a repeated chunk adds nothing', async () => {
    const result = await store.submit({
      projectId,
      owner: 'o',
      requestId: 'open',
      open: true,
      steps: [step({ items: null })],
    });
    const id = idsOf(result)[0]!;
    const chunk = (first: number) => ({ first, payloads: ['1', '2'], inputs: [null, null], digests: [] });
    expect(await store.addItems({ id, offset: 0, items: chunk(1) })).toEqual({ ok: true });
    expect(await store.addItems({ id, offset: 0, items: chunk(1) })).toEqual({ ok: true });
    expect(await store.addItems({ id, offset: 2, items: chunk(3) })).toEqual({ ok: true });
    expect(await store.addItems({ id, offset: 9, items: chunk(10) })).toMatchObject({
      ok: false,
      refusal: 'wrong-offset',
      tasks: 4,
    });
    const { exchange } = await worker();
    expect((await exchange()).claims).toHaveLength(0);
    expect(
      await store.listTasks({ projectIds: null, submission: id, state: null, after: null, limit: 10 }),
    ).toHaveLength(0);
    await store.openSubmissions({ ids: [id] });
    expect((await exchange()).claims).toHaveLength(4);
    expect(await store.addItems({ id, offset: 4, items: chunk(5) })).toMatchObject({ ok: false, refusal: 'not-open' });
    await drainPool();
  });

  test('a submission that is never completed is removed', async () => {
    const result = await store.submit({ projectId, owner: 'o', requestId: 'abandoned', open: true, steps: [step()] });
    while ((await store.removeChunk({ olderThanMs: -1 })) > 0);
    expect(await store.getSubmissions({ ids: idsOf(result) })).toEqual([]);
  });

  test('dependents wait for a submission or a task, and end with that reason when it fails', async () => {
    const [first, second, third] = await submit(
      step({ array: { first: 1, last: 2, step: 1 }, items: null }),
      step({ after: [{ step: 0 }] }),
      step({ after: [{ step: 1 }] }),
    );
    const [onTask] = await submit(step({ after: [{ submission: first!, idx: 2 }] }));
    expect(await countsOf(second!)).toMatchObject({ waiting: 1, queued: 0 });
    const { exchange } = await worker();
    const { claims } = await exchange();
    expect(claims.map((claim) => claim.submission_id)).toEqual([first, first]);
    await exchange({ reports: [report(claims[1]!)], most: 0 });
    await fold();
    expect(await countsOf(onTask!)).toMatchObject({ waiting: 0, queued: 1 });
    expect(await countsOf(second!)).toMatchObject({ waiting: 1 });
    await exchange({ reports: [report(claims[0]!)], most: 0 });
    await fold();
    expect(await countsOf(second!)).toMatchObject({ queued: 1 });
    const next = await exchange({ most: 1 });
    expect(next.claims[0]).toMatchObject({ submission_id: second });
    await exchange({ reports: [report(next.claims[0]!, 'failed')], most: 0 });
    await fold();
    while ((await store.endChunk()).ended > 0);
    await fold();
    expect(await store.getTask({ submission: third!, idx: 1 })).toMatchObject({
      state: 'failed',
      reason: 'dependency-failed',
    });
    expect(await countsOf(third!)).toMatchObject({ waiting: 0, queued: 0, failed: 1 });
    await drainPool();
  });

  test('what comes after a finished submission is settled too', async () => {
    const [done] = await submit(step());
    await drainPool();
    const [after] = await submit(step({ after: [{ submission: done!, idx: null }] }));
    await fold();
    expect(await countsOf(after!)).toMatchObject({ queued: 1 });
    await drainPool();
    expect(await stateOf(after!)).toBe('succeeded');
  });

  test('a submission may not come after what is not there', async () => {
    const result = await store.submit({
      projectId,
      owner: 'o',
      requestId: 'nowhere',
      open: false,
      steps: [step({ after: [{ submission: 999_999, idx: null }] })],
    });
    expect(result).toEqual({ ok: false, missing: { submission: 999_999, idx: null } });
  });

  test('cancelling a submission ends what waits, what is queued and what runs; retry queues it again with fresh counters', async () => {
    const [id] = await submit(step({ array: { first: 1, last: 5, step: 1 }, items: null }));
    const { exchange } = await worker({ cpus: 2, memory: 0, gpus: 0, named: {} });
    const { claims } = await exchange();
    await store.endSubmission({ id: id!, as: 'cancelled' });
    expect((await exchange({ held: claims.map(heldOf) })).claims).toHaveLength(0);
    while ((await store.endChunk()).ended > 0);
    await fold();
    expect(await countsOf(id!)).toMatchObject({ cancelled: 5, queued: 0, running: 0 });
    expect((await exchange({ reports: [report(claims[0]!)] })).answers).toEqual(['already-finished']);
    expect(await store.retryTasks({ submission: id!, idx: null, failedOnly: false })).toBe(5);
    expect(await countsOf(id!)).toMatchObject({ cancelled: 0, queued: 5 });
    // The attempt that was cancelled is closed: what it says no longer counts.
    expect((await exchange({ reports: [report(claims[1]!)], most: 0 })).answers).toEqual(['stale-attempt']);
    await drainPool();
  });

  test('a start after an outage extends the leases that were valid, once, and a second server extends nothing', async () => {
    const before = await store.startServer({
      id: `a${requests}`,
      host: 'h',
      pid: 1,
      ticketKey: 'k',
      lease: LEASE,
      aliveWithinMs: 1,
    });
    expect(before.extendedMs).toBeGreaterThanOrEqual(0);
    const { session } = await worker();
    const lease = (await store.findWorker(session))?.lease_until as number;
    const { extendedMs } = await store.startServer({
      id: `b${requests}`,
      host: 'h',
      pid: 1,
      ticketKey: 'k',
      lease: LEASE,
      aliveWithinMs: -1,
    });
    expect(extendedMs).toBeGreaterThanOrEqual(LEASE.heartbeatMs);
    expect((await store.findWorker(session))?.lease_until).toBe(lease + extendedMs);
    if (store.dialect === 'postgres') {
      const second = await store.startServer({
        id: `c${requests}`,
        host: 'h',
        pid: 1,
        ticketKey: 'k',
        lease: LEASE,
        aliveWithinMs: 15_000,
      });
      expect(second.extendedMs).toBe(0);
      expect((await store.findWorker(session))?.lease_until).toBe(lease + extendedMs);
    }
  });

  test('many claims at once give each task to one worker', async () => {
    await drainPool();
    const [id] = await submit(step({ array: { first: 1, last: 2000, step: 1 }, items: null }));
    const workers = await Promise.all(
      Array.from({ length: 8 }, () => worker({ cpus: 10, memory: 0, gpus: 0, named: {} })),
    );
    const seen = new Map<string, number>();
    await Promise.all(
      workers.map(async ({ exchange }) => {
        for (let claims = (await exchange()).claims; claims.length > 0; ) {
          for (const claim of claims)
            seen.set(`${claim.submission_id}.${claim.idx}`, (seen.get(`${claim.submission_id}.${claim.idx}`) ?? 0) + 1);
          claims = (await exchange({ reports: claims.map((claim) => report(claim)) })).claims;
        }
      }),
    );
    expect(seen.size).toBe(2000);
    expect([...seen.values()].every((times) => times === 1)).toBe(true);
    await fold();
    expect(await countsOf(id!)).toMatchObject({ succeeded: 2000, queued: 0, running: 0 });
  });

  test('counts by state equal what a scan counts', async () => {
    await fold();
    const scanned = { waiting: 0, queued: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0 };
    for (const state of Object.keys(scanned) as (keyof typeof scanned)[]) {
      scanned[state] = (
        await store.listTasks({ projectIds: null, submission: null, state, after: null, limit: 10_000 })
      ).length;
    }
    const kept = (await store.countByProject()).find((row) => row.projectId === projectId)?.counts;
    expect(kept).toEqual(scanned);
  });

  test('a payload survives byte for byte', async () => {
    const payload = JSON.stringify({ text: 'é\u0000\u2028"\\', deep: [[[{}]]], big: 2 ** 53 - 1, small: 1e-300 });
    const [id] = await submit(step({ items: { first: 1, payloads: [payload], inputs: [null], digests: [] } }));
    expect((await store.getTask({ submission: id!, idx: 1 }))?.payload).toBe(payload);
    await drainPool();
  });

  test('one bad command fails alone', async () => {
    const good = submit(step());
    const bad = store.submit({
      projectId,
      owner: 'o',
      requestId: 'bad',
      open: false,
      steps: [{ ...step(), spec: null as unknown as string }],
    });
    await expect(bad).rejects.toMatchObject({ code: 'internal' });
    expect(await good).toHaveLength(1);
    await drainPool();
  });
});
