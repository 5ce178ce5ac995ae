import { DatabaseSync } from 'node:sqlite';
import fc from 'fast-check';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { migrationsAfter } from '../../../src/server/store/migrations.ts';
import { openPostgres } from '../../../src/server/store/postgres/open-postgres.ts';
import type { Store } from '../../../src/server/store/store.ts';
import type { NewSubmission } from '../../../src/server/store/verbs/submissions.ts';
import {
  arrayStep,
  type ClaimRow,
  heldOf,
  openStores,
  reportOf,
  step,
  storeClients,
} from '../../support/open-stores.ts';

const HALF_LIFE = 86_400_000;

describe.each(openStores())('sharing out on %s', (_name, open) => {
  let opened: Awaited<ReturnType<typeof open>>;
  let store: Store;
  let projects = 0;
  let requests = 0;
  let projectId: number;
  beforeAll(async () => {
    opened = await open();
    ({ store } = opened);
  });
  afterAll(() => opened.close());
  beforeEach(async () => {
    projectId = (await store.createProject({ name: `p${++projects}`, owner: 'o' })).id;
  });

  const submitAs = async (owner: string, ...steps: NewSubmission[]): Promise<number> => {
    const requestId = `share-${++requests}`;
    const result = await store.submit({ projectId, owner, requestId, open: false, steps });
    if (!result.ok) throw new Error('refused');
    return result.ids[0] as number;
  };
  const clients = () => storeClients(store, projectId, `share-${projects}-${++requests}`);
  const known = async (...names: string[]) => {
    for (const name of names)
      await store.addPerson({ name, passwordHash: null, role: 'regular', hash: `hash of ${name}` });
  };
  const fold = async () => {
    while ((await store.foldCounts()).touched.length > 0);
  };
  const owners = async () =>
    new Map((await store.listOwners({ halfLifeMs: HALF_LIFE })).map((owner) => [owner.name, owner]));
  const countBy = (claims: readonly ClaimRow[], submission: number) =>
    claims.filter((claim) => claim.submission_id === submission).length;
  const claimAll = (claims: readonly ClaimRow[]) => claims.map((claim) => reportOf(claim));

  test('of a thousand slots in one exchange two users with the same usage get half each, whoever was first', async () => {
    const first = await submitAs('u1', arrayStep(1000));
    const second = await submitAs('u2', arrayStep(1000));
    const worker = await clients().newWorker(1000);
    const { claims } = await worker.exchange({ most: 1000 });
    expect([countBy(claims, first), countBy(claims, second)]).toEqual([500, 500]);
    await worker.exchange({ reports: claimAll(claims), most: 0 });
    await clients().drain();
  });

  test('where one of them has less to do than half, the other gets the rest', async () => {
    const few = await submitAs('f1', arrayStep(3));
    const many = await submitAs('f2', arrayStep(100));
    const worker = await clients().newWorker(50);
    const { claims } = await worker.exchange();
    expect([countBy(claims, few), countBy(claims, many)]).toEqual([3, 47]);
    await worker.exchange({ reports: claimAll(claims), most: 0 });
    await clients().drain();
  });

  test('the next slot goes to who has less running, across exchanges and workers, however old or urgent the other is', async () => {
    const first = await submitAs('n1', arrayStep(10, { priority: 1000 }));
    const { newWorker, drain } = clients();
    const before = await (await newWorker(3)).exchange();
    expect(countBy(before.claims, first)).toBe(3);
    const second = await submitAs('n2', arrayStep(10));
    for (let i = 0; i < 3; i += 1) {
      const { claims } = await (await newWorker(1)).exchange();
      expect(claims.map((claim) => claim.submission_id)).toEqual([second]);
    }
    const both = await (await newWorker(4)).exchange();
    expect([countBy(both.claims, first), countBy(both.claims, second)]).toEqual([2, 2]);
    await store.endSubmission({ id: first, as: 'cancelled' });
    await store.endSubmission({ id: second, as: 'cancelled' });
    await drain();
  });

  test('within one owner it is priority, then the oldest, also among others', async () => {
    const old = await submitAs('w1', step());
    const urgent = await submitAs('w1', step({ priority: 5 }));
    const other = await submitAs('w2', arrayStep(2));
    const { newWorker, drain } = clients();
    const worker = await newWorker(1);
    const order: number[] = [];
    let { claims } = await worker.exchange();
    for (; claims.length > 0; { claims } = await worker.exchange({ reports: claimAll(claims) }))
      order.push(claims[0]?.submission_id ?? 0);
    const own = order.filter((id) => id !== other);
    expect(own).toEqual([urgent, old]);
    await drain();
  });

  test('with weights the slots that run approach their ratio, whatever is claimed and ends in between', async () => {
    const weight = fc.integer({ min: 1, max: 4 });
    const sizes = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 3, maxLength: 6 });
    let run = 0;
    await fc.assert(
      fc.asyncProperty(weight, weight, sizes, async (one, two, workers) => {
        const [a, b] = [`a${projects}.${++run}`, `b${projects}.${run}`];
        await known(a, b);
        await store.setOwner({ name: a, weight: one });
        await store.setOwner({ name: b, weight: two });
        const [ofA, ofB] = [await submitAs(a, arrayStep(400)), await submitAs(b, arrayStep(400))];
        const { newWorker, settle } = clients();
        let running: ClaimRow[] = [];
        for (const cpus of [...workers, 40]) {
          const worker = await newWorker(cpus);
          const { claims } = await worker.exchange();
          // Some end at once, and what is free is given again.
          const ended = claims.filter((_, i) => i % 3 === 0);
          const left = claims.filter((claim) => !ended.includes(claim));
          const more = await worker.exchange({ reports: claimAll(ended), held: left.map(heldOf) });
          running = [...running, ...left, ...more.claims];
          if (running.length % 2 === 0) await fold();
        }
        const share = countBy(running, ofA) / running.length;
        expect(Math.abs(share - one / (one + two)) * running.length).toBeLessThan(4);
        for (const id of [ofA, ofB]) await store.endSubmission({ id, as: 'cancelled' });
        await settle();
      }),
      { numRuns: 6 },
    );
  });

  test('usage grows with slots and time, is the same before and after a fold, and outlives the end of the task', async () => {
    await known('g1');
    await submitAs('g1', step({ cpus: 4 }));
    const worker = await clients().newWorker(4);
    const { claims } = await worker.exchange();
    expect((await owners()).get('g1')).toMatchObject({ tasks: 1, slots: 4 });
    await expect.poll(async () => (await owners()).get('g1')?.slotSeconds ?? 0).toBeGreaterThan(0.2);
    await fold();
    const folded = (await owners()).get('g1');
    expect(folded).toMatchObject({ tasks: 1, slots: 4 });
    expect(folded?.slotSeconds).toBeGreaterThan(0.2);
    await worker.exchange({ reports: claimAll(claims), most: 0 });
    await submitAs('g1', step());
    await fold();
    const after = (await owners()).get('g1');
    expect(after?.slotSeconds).toBeGreaterThan(0.2);
    const again = await worker.exchange();
    await worker.exchange({ reports: claimAll(again.claims), most: 0 });
    expect((await owners()).get('g1')).toMatchObject({ tasks: 0, slots: 0 });
  });

  test('who has used slots of late comes after who has not, when nothing runs any more', async () => {
    await submitAs('l1', step());
    const worker = await clients().newWorker(1);
    const { claims } = await worker.exchange();
    await expect.poll(async () => (await owners()).get('l1')?.slotSeconds ?? 0).toBeGreaterThan(0.02);
    const old = await submitAs('l1', step());
    const fresh = await submitAs('l2', step());
    const next = await worker.exchange({ reports: claimAll(claims) });
    expect(next.claims.map((claim) => claim.submission_id)).toEqual([fresh]);
    const last = await worker.exchange({ reports: claimAll(next.claims) });
    expect(last.claims.map((claim) => claim.submission_id)).toEqual([old]);
    await worker.exchange({ reports: claimAll(last.claims), most: 0 });
  });

  test('a wide task gets a worker to itself when it is the turn of its owner, and not before', async () => {
    const { newWorker, drain } = clients();
    const small = await submitAs('r1', arrayStep(20));
    const wide = await submitAs('r2', step({ cpus: 3 }));
    const ahead = await submitAs('r2', arrayStep(6));
    const others = await newWorker(6);
    // r2 has more running than r1: a worker that is half free goes on with the tasks of r1.
    await store.endSubmission({ id: small, as: 'cancelled' });
    while ((await store.endChunk()).ended > 0);
    const held = (await others.exchange({ free: { cpus: 2, memory: 0, gpus: 0, named: {} } })).claims;
    expect(held.map((claim) => claim.submission_id)).toEqual([ahead, ahead]);
    const rival = await submitAs('r1', arrayStep(20));
    const worker = await newWorker(3);
    const first = await worker.exchange({ reserveAfterMs: -1, most: 1 });
    expect(first.claims.map((claim) => claim.submission_id)).toEqual([rival]);
    const second = await worker.exchange({ reserveAfterMs: -1, most: 1, held: first.claims.map(heldOf) });
    expect(second.claims.map((claim) => claim.submission_id)).toEqual([rival]);
    await others.exchange({ reports: claimAll(held), most: 0 });
    // Now r1 has more running: the wide task is next, and the worker waits for it.
    const running = [...first.claims, ...second.claims];
    const waits = await worker.exchange({ reserveAfterMs: -1, held: running.map(heldOf) });
    expect(waits.claims).toEqual([]);
    const got = await worker.exchange({ reserveAfterMs: -1, reports: claimAll(running) });
    expect(got.claims.map((claim) => claim.submission_id)).toEqual([wide]);
    await worker.exchange({ reports: claimAll(got.claims), most: 0 });
    await drain();
  });

  describe('limits on what runs', () => {
    test.each(['user', 'project'] as const)('of a %s are never exceeded, however many claim at once', async (of) => {
      const name = `limited-${of}-${projects}`;
      await known(name);
      if (of === 'user') await store.setOwner({ name, runningLimit: 7 });
      else await store.setRunningLimit({ projectId, limit: 7 });
      await submitAs(name, arrayStep(200), arrayStep(200, { cpus: 2 }));
      const second = opened.url === undefined ? store : await openPostgres(opened.url, () => undefined);
      if (second !== store) onTestFinished(() => second.close());
      const here = clients();
      const there = storeClients(second, projectId, `there-${name}`);
      const workers = await Promise.all(Array.from({ length: 12 }, (_, i) => (i % 2 ? here : there).newWorker(4)));
      let ran = 0;
      let held = workers.map(() => [] as ClaimRow[]);
      for (let round = 0; round < 5; round += 1) {
        const replies = await Promise.all(
          workers.map((worker, i) => worker.exchange({ reports: claimAll(held[i] ?? []) })),
        );
        held = replies.map(({ claims }) => [...claims]);
        const running = held.flat().length;
        ran += running;
        expect(running).toBe(7);
        if (round % 2 === 0) await store.foldCounts();
      }
      expect(ran).toBe(35);
      if (of === 'user') await store.setOwner({ name, runningLimit: null });
      else await store.setRunningLimit({ projectId, limit: null });
      await Promise.all(workers.map((worker, i) => worker.exchange({ reports: claimAll(held[i] ?? []), most: 0 })));
      await here.drain();
    });

    test('hold for what neighbours take too, over all of their workers in one exchange', async () => {
      await known('neighbourly');
      await store.setOwner({ name: 'neighbourly', runningLimit: 5 });
      const id = await submitAs('neighbourly', arrayStep(50));
      const { newWorker, drain } = clients();
      const peer = await newWorker(0, { peer: 'some-peer' });
      const bin = {
        total: { cpus: 2, memory: 0, gpus: 0, named: {} },
        free: { cpus: 2, memory: 0, gpus: 0, named: {} },
      };
      const bins = Array.from({ length: 6 }, () => ({ ...bin, labels: {}, remainingSeconds: null }));
      const { claims } = await peer.exchange({ neighbour: { bins, projects: [projectId] } });
      expect(claims).toHaveLength(5);
      await peer.exchange({ reports: claimAll(claims), most: 0 });
      await store.endSubmission({ id, as: 'cancelled' });
      await drain();
    });

    test('leave the slots to others, say that there is room again, and idle workers are lent meanwhile', async () => {
      await known('full');
      await store.setOwner({ name: 'full', runningLimit: 1 });
      const limited = await submitAs('full', arrayStep(5, { priority: 1000 }));
      const other = await submitAs('open', arrayStep(2));
      const worker = await clients().newWorker(4);
      const { claims } = await worker.exchange();
      expect([countBy(claims, limited), countBy(claims, other)]).toEqual([1, 2]);
      expect((await store.findSupply()).idle.some(({ free }) => free.cpus === 1)).toBe(true);
      await fold();
      const ended = claims.filter((claim) => claim.submission_id === other);
      const held = claims.filter((claim) => claim.submission_id === limited).map(heldOf);
      expect((await worker.exchange({ reports: claimAll(ended), held })).claims).toEqual([]);
      expect((await store.foldCounts()).madeRoom).toBe(false);
      await store.endTasks({
        submission: limited,
        idx: claims.find((one) => one.submission_id === limited)?.idx ?? 0,
        as: 'cancelled',
        limit: 1,
      });
      expect((await store.foldCounts()).madeRoom).toBe(true);
      expect(countBy((await worker.exchange()).claims, limited)).toBe(1);
      await store.endSubmission({ id: limited, as: 'cancelled' });
      await clients().drain();
    });
  });

  test('where somebody stands: who has had less and has tasks waiting, and which limits are reached', async () => {
    await known('s1', 's2');
    await store.setOwner({ name: 's2', weight: 2 });
    const mine = await submitAs('s1', arrayStep(5));
    const worker = await clients().newWorker(2);
    const { claims } = await worker.exchange();
    expect(await store.findStanding({ submission: mine, halfLifeMs: HALF_LIFE })).toMatchObject({
      own: { owner: 's1', account: { tasks: 2 } },
      before: [],
      reached: [],
    });
    const theirs = await submitAs('s2', step());
    await store.setOwner({ name: 's1', runningLimit: 2 });
    await store.setRunningLimit({ projectId, limit: 9 });
    expect(await store.findStanding({ submission: mine, halfLifeMs: HALF_LIFE })).toMatchObject({
      before: [{ owner: 's2', weight: 2, account: { tasks: 0 }, waiting: [{ projectId }] }],
      reached: [{ of: 'user', limit: 2, running: 2 }],
    });
    // Who may not run anything now comes before nobody.
    await store.setOwner({ name: 's2', runningLimit: 0 });
    expect((await store.findStanding({ submission: mine, halfLifeMs: HALF_LIFE }))?.before).toEqual([]);
    await store.setOwner({ name: 's2', runningLimit: null });
    await store.setOwner({ name: 's1', runningLimit: null });
    await store.setRunningLimit({ projectId, limit: null });
    expect(await store.queuedBefore({ submission: theirs, priority: 0 })).toBe(0);
    await worker.exchange({ reports: claimAll(claims), most: 0 });
    await clients().drain();
  });

  test('a weight is for users, for tokens of nobody by their name, and for nobody else; it goes with the user', async () => {
    const token = { name: 'robot', kind: 'token' as const, user: null, hash: 'hash of robot', scopes: '["submit"]' };
    await store.createToken({ ...token, projects: null, expiresInMs: null });
    expect(await store.setOwner({ name: 'robot', weight: 3 })).toBe('set');
    expect(await store.setOwner({ name: 'somebody-else', weight: 3 })).toBe('unknown');
    await known('leaver');
    await store.addPerson({ name: 'boss', passwordHash: null, role: 'administrator', hash: 'b' });
    await store.setOwner({ name: 'leaver', weight: 5, runningLimit: 1 });
    await store.removePerson({ name: 'leaver', heir: null });
    await known('leaver');
    expect((await owners()).get('leaver')).toMatchObject({ weight: 1, runningLimit: null });
    expect((await owners()).get('robot')).toMatchObject({ weight: 3 });
  });

  describe('storage of a user', () => {
    const digest = (n: number) => n.toString(16).padStart(64, '0');
    const add = (project: number, n: number, size: number) =>
      store.addBlobs({ projectId: project, blobs: [{ digest: digest(n), size }], graceMs: 1e6 });

    test('is that of all projects which the user owns, and what would exceed it is refused', async () => {
      await known('keeper');
      const one = (await store.createProject({ name: `k1-${projects}`, owner: 'keeper' })).id;
      const two = (await store.createProject({ name: `k2-${projects}`, owner: 'keeper' })).id;
      await store.setOwner({ name: 'keeper', storageLimit: 100 });
      expect(await add(one, 1, 60)).toBe('added');
      expect(await store.findQuota({ projectId: two })).toEqual({ quotaBytes: 100, bytes: 60, user: 'keeper' });
      expect(await add(two, 2, 50)).toEqual({ overQuota: { quotaBytes: 100, bytes: 60, user: 'keeper' } });
      expect(await add(two, 3, 40)).toBe('added');
      await store.setQuota({ projectId: one, bytes: 50 });
      expect(await store.findQuota({ projectId: one })).toEqual({ quotaBytes: 50, bytes: 60 });
      expect(await add(projectId, 4, 1000)).toBe('added');
      expect((await owners()).get('keeper')).toMatchObject({ storedBytes: 100, storageLimit: 100 });
    });

    test('is never exceeded by uploads into several projects at once', async () => {
      await known('rusher');
      const ids: number[] = [];
      for (let i = 0; i < 8; i += 1)
        ids.push((await store.createProject({ name: `r${i}-${projects}`, owner: 'rusher' })).id);
      await store.setOwner({ name: 'rusher', storageLimit: 30 });
      const results = await Promise.all(ids.map((id, i) => add(id, 100 + i, 10)));
      expect(results.filter((result) => result === 'added')).toHaveLength(3);
    });
  });

  test('what runs when a database is brought up to it counts for its owner', async () => {
    const before = SHARES_VERSION - 1;
    const migrate = (from: number, until: number) => migrationsAfter(from, store.dialect, until);
    const run = await bareDatabase(opened.url);
    for (const text of migrate(0, before)) await run(text);
    await run("insert into projects (id, name, owner, created_at) values (1, 'p', 'o', 0), (2, 'pilots', 'o', 0)");
    const shape = (cpus: number) => `'["command",${cpus},0,0,0,[],[]]'`;
    await run(`insert into shapes (id, key) values (1, ${shape(4)}), (2, ${shape(0)})`);
    await run(
      "insert into queues (id, project_id, owner, shape_id) values (1, 1, 'anna', 1), (2, 1, 'anna', 2), (3, 2, 'anna', 1)",
    );
    for (const id of [1, 2, 3]) {
      await run(`insert into submissions (id, project_id, queue_id, owner, step, created_at, priority, tasks, gate, waiting_since, spec)
        values (${id}, ${id === 3 ? 2 : 1}, ${id}, 'anna', 0, 0, 0, 1, 'open', 0, '{}')`);
      await run(
        `insert into tasks (submission_id, idx, state, session_id, claimed_at, sequence) values (${id}, 1, 'running', 's', ${id}, 1)`,
      );
    }
    for (const text of migrate(before, SHARES_VERSION)) await run(text);
    const rows = await run('select owner, slot_seconds, slots, tasks, at from owner_usage');
    expect(rows.map((row) => Object.values(row).map((value) => (value === 'anna' ? value : Number(value))))).toEqual([
      ['anna', 0, 5, 2, 2],
    ]);
  });
});

/** The version that brought shares. */
const SHARES_VERSION = versionOf('create table owner_usage');

function versionOf(text: string): number {
  return migrationsAfter(0, 'sqlite').findIndex((migration) => migration.includes(text)) + 1;
}

/** An empty database of the same kind, as statements see it. */
async function bareDatabase(url: string | undefined): Promise<(text: string) => Promise<Record<string, unknown>[]>> {
  if (url === undefined) {
    const raw = new DatabaseSync(':memory:');
    onTestFinished(() => raw.close());
    return async (text) => {
      if (text.startsWith('select')) return raw.prepare(text).all() as Record<string, unknown>[];
      raw.exec(text);
      return [];
    };
  }
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  onTestFinished(() => client.end());
  await client.query('create schema earlier; set search_path to earlier; create sequence change_sequence');
  return async (text) => (await client.query(text)).rows;
}
