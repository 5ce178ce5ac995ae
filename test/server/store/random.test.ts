import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Store } from '../../../src/server/store/store.ts';
import { seededRandom } from '../../chaos/random.ts';
import {
  arrayStep,
  type ClaimRow,
  heldOf,
  openStores,
  reportOf,
  step,
  storeClients,
} from '../../support/open-stores.ts';
import { waitUntil } from '../../support/wait-until.ts';

const STATES = ['waiting', 'queued', 'running', 'succeeded', 'failed', 'cancelled'] as const;
const OUTCOMES = ['succeeded', 'succeeded', 'failed', 'released', 'ended', 'lost'] as const;
const RETRY = JSON.stringify({ retry: { limit: 2, backoffSeconds: 0, lostLimit: 2, endedLimit: 2 } });
const ACTORS = 8;
const ROUNDS = 40;

describe.each(openStores())('everybody at once on %s', (_name, open) => {
  let opened: Awaited<ReturnType<typeof open>>;
  let store: Store;
  beforeAll(async () => {
    opened = await open();
    ({ store } = opened);
  });
  afterAll(() => opened.close());

  test.each([1, 2])('counts stay what a scan counts, and nothing is stuck (seed %d)', async (seed) => {
    const projectId = (await store.createProject({ name: `p${seed}`, owner: 'o' })).id;
    const clients = storeClients(store, projectId, `seed-${seed}`);
    const submissions: number[] = [];
    const actor = async (dice: ReturnType<typeof seededRandom>) => {
      const below = (n: number) => Math.floor(dice() * n);
      const some = () => submissions[below(submissions.length)] as number;
      const idxOrAll = () => (below(2) === 0 ? 1 + below(10) : null);
      let worker = await clients.newWorker(8);
      let held: ClaimRow[] = [];
      const verbs = [
        async () => void submissions.push(...(await clients.submit(arrayStep(10, { spec: RETRY })))),
        async () =>
          void submissions.push(
            ...(await clients.submit(
              arrayStep(5),
              arrayStep(10, { spec: RETRY, after: [{ step: 0 }, { submission: some(), idx: null }] }),
            )),
          ),
        async () => void submissions.push(...(await clients.submit(step({ notBefore: Date.now() + below(300) })))),
        async () => void (await store.endSubmission({ id: some(), as: 'cancelled' })),
        async () => void (await store.endTasks({ submission: some(), idx: 1 + below(10), as: 'cancelled', limit: 1 })),
        async () => void (await store.endChunk()),
        async () => void (await store.retryTasks({ submission: some(), idx: idxOrAll(), failedOnly: below(2) === 0 })),
        async () => void (await store.foldCounts()),
        async () => void (await store.releaseDue()),
        async () => void (await store.rescueExpired()),
        async () => {
          await worker.leave();
          held = [];
          worker = await clients.newWorker(8, { lease: { heartbeatMs: 0, leaseMs: below(3) === 0 ? -1 : 60_000 } });
        },
      ];
      const exchange = async () => {
        const reported = held.filter(() => below(2) === 0);
        held = held.filter((claim) => !reported.includes(claim));
        const reply = await worker.exchange({
          held: held.map(heldOf),
          reports: reported.map((claim) => reportOf(claim, OUTCOMES[below(OUTCOMES.length)])),
        });
        held.push(
          ...reply.claims.filter(
            (claim) => !held.some((one) => one.submission_id === claim.submission_id && one.idx === claim.idx),
          ),
        );
        held = held.filter(
          (claim) => !reply.drop.some((key) => key.submission === claim.submission_id && key.idx === claim.idx),
        );
      };
      for (let round = 0; round < ROUNDS; round += 1) {
        await exchange();
        await (verbs[below(verbs.length)] as () => Promise<void>)();
      }
      await worker.leave();
    };
    submissions.push(...(await clients.submit(arrayStep(10))));
    await Promise.all(Array.from({ length: ACTORS }, (_, i) => actor(seededRandom(seed * 100 + i))));

    const countsAndScan = async () => {
      const scanned = Object.fromEntries(STATES.map((state) => [state, 0]));
      for (const state of STATES)
        scanned[state] = (
          await store.listTasks({ projectIds: [projectId], submission: null, state, after: null, limit: 1e6 })
        ).length;
      const kept = (await store.countByProject()).find((row) => row.projectId === projectId)?.counts;
      return { scanned, kept };
    };
    const before = await countsAndScan();
    expect(before.kept).toEqual(before.scanned);
    await waitUntil('all tasks to be over', async () => {
      await clients.drain();
      const { waiting, queued, running } = (await countsAndScan()).scanned;
      return waiting === 0 && queued === 0 && running === 0;
    });
    const { kept, scanned } = await countsAndScan();
    expect(kept).toEqual(scanned);
    expect(scanned).toMatchObject({ waiting: 0, queued: 0, running: 0 });
    for (const row of await store.getSubmissions({ ids: submissions }))
      expect(Object.values(row.counts).reduce((sum, n) => sum + n, 0)).toBe(row.tasks);
  });
});
