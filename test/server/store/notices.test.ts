import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Store } from '../../../src/server/store/store.ts';
import type { TakenLetter } from '../../../src/server/store/verbs/deliver-letters.ts';
import { noticedService, TOLD } from '../../support/noticed-service.ts';
import { type OpenedStore, openStores } from '../../support/open-stores.ts';
import { waitUntil } from '../../support/wait-until.ts';

const RETRY = { firstPauseMs: 1000, longestPauseMs: 5000, giveUpMs: 3_600_000 };
const HOOK = 'https://example.org/told';

describe.each(openStores())('notices on %s', (_name, open) => {
  let opened: OpenedStore;
  let store: Store;
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
    for (const id of ['a', 'b'])
      await store.startServer({
        id,
        host: 'h',
        pid: 1,
        ticketKey: 'k',
        lease: { heartbeatMs: 1, leaseMs: 2 },
        aliveWithinMs: 60_000,
      });
  });
  afterAll(() => opened.close());

  const takes = (
    over: {
      server?: string;
      channel?: 'mail' | 'hook';
      windowMs?: number;
      leaseMs?: number;
      except?: string[];
      aliveWithinMs?: number;
    } = {},
  ) =>
    store.takeLetter({
      channel: 'mail',
      server: 'a',
      aliveWithinMs: 60_000,
      except: [],
      windowMs: 600_000,
      longestWindowMs: 6_000_000,
      leaseMs: 60_000,
      ...over,
    });
  const finish = (letter: TakenLetter, outcome: 'sent' | 'refused' | 'failed' = 'sent') =>
    store.finishLetter({
      ...RETRY,
      id: letter.id,
      tries: letter.tries,
      outcome,
      error: outcome === 'sent' ? null : 'no way',
    });
  const takeAll = async (...how: Parameters<typeof takes>): Promise<TakenLetter[]> => {
    const all: TakenLetter[] = [];
    for (let letter = await takes(...how); letter; letter = await takes(...how)) {
      all.push(letter);
      await finish(letter);
    }
    return all;
  };

  test('a job that is complete is told to its user, once, and when its hook is through', async () => {
    const { add, lead, change, name } = await noticedService(store);
    const job = await add('user@example.org', 'the name');
    await lead(job, 'COMPLETED', { isSettled: false });
    expect(await takes()).toBe(null);
    const settle = { jobId: job.id, change: { kind: 'settle', step: 5 } as const, facts: {} };
    expect(await change(settle)).toMatchObject({ results: [{ ok: true }], noticed: 1 });
    expect(await change(settle)).toMatchObject({ results: [{ ok: true }], noticed: 0 });
    expect(await takeAll()).toMatchObject([
      {
        kind: 'completed',
        address: 'user@example.org',
        service: name,
        project: 'noticed',
        notices: 1,
        told: [{ facts: { job: { number: job.number, name: 'the name', uid: job.uid } } }],
      },
    ]);
  });

  test('nobody is told who left no address, or whose service says so, or whose author does', async () => {
    const silent = await noticedService(store, { told: { ...TOLD, users: false } });
    await silent.lead(await silent.add(), 'COMPLETED');
    const usual = await noticedService(store);
    await usual.lead(await usual.add(null), 'COMPLETED');
    await usual.lead(await usual.add(), 'COMPLETED', { mail: null });
    expect(await takes()).toBe(null);
    await usual.lead(await usual.add(), 'COMPLETED', { mail: { text: 'my own' } });
    expect(await takeAll()).toMatchObject([{ told: [{ facts: { mail: { text: 'my own' } } }] }]);
  });

  test('a job that was resubmitted and is complete again is told again', async () => {
    const { add, lead, fail, go } = await noticedService(store, { told: { ...TOLD, admins: [] } });
    const job = await add();
    await lead(job, 'COMPLETED');
    await fail(job);
    await go(job, 'INCOMING');
    await lead(job, 'COMPLETED');
    expect(await takeAll()).toHaveLength(2);
  });

  test('failures go to each administrator: the first at once, the others of its window in one letter', async () => {
    const { failNew, name } = await noticedService(store, { told: { ...TOLD, admins: ['a@x.org', 'b@x.org'] } });
    const first = await failNew('the first');
    const sent = await takeAll({ windowMs: 600_000 });
    expect(sent.map(({ address }) => address).sort()).toEqual(['a@x.org', 'b@x.org']);
    expect(sent[0]).toMatchObject({
      kind: 'failed',
      service: name,
      notices: 1,
      windowMs: 600_000,
      told: [
        {
          facts: {
            job: { number: first.number },
            failure: { hook: 'run', message: 'the first', stack: expect.stringContaining('service.ts:7') },
          },
        },
      ],
    });
    for (let n = 0; n < 20; n += 1) await failNew(`number ${n} ${'x'.repeat(1000)}`);
    expect(await takes()).toBe(null);
    const { inMs } = await store.lettersDue({ channel: 'mail', server: 'a', aliveWithinMs: 60_000, except: [] });
    expect(inMs).toBeGreaterThan(500_000);
  });

  test('a letter collects until it is taken, and each one of a flood waits for twice as long', async () => {
    const { failNew, name } = await noticedService(store);
    const windowMs = 500;
    await failNew();
    expect(await takeAll({ windowMs })).toMatchObject([{ service: name, notices: 1, windowMs }]);
    for (const next of [2 * windowMs, 4 * windowMs]) {
      await failNew();
      await failNew();
      expect(await takes({ windowMs })).toBe(null);
      const [letter] = await waitUntil('the window is over', async () => {
        const taken = await takeAll({ windowMs });
        return taken.length > 0 && taken;
      });
      expect(letter).toMatchObject({ service: name, notices: 2, windowMs: next });
    }
  });

  test('of a thousand failures five are kept with their stacks, and all are counted', async () => {
    const { failNew } = await noticedService(store);
    for (let n = 0; n < 210; n += 1) await failNew();
    const letter = (await takes()) as TakenLetter;
    expect(letter.notices).toBe(210);
    expect(letter.told).toHaveLength(200);
    expect(letter.told.filter(({ facts }) => facts.failure?.stack !== null)).toHaveLength(5);
    await finish(letter);
  });

  test('one server at a time has a letter, and one whose lease is over has nothing to say', async () => {
    const { add, lead } = await noticedService(store);
    await lead(await add(), 'COMPLETED');
    const [one, other] = await Promise.all([takes({ leaseMs: -1 }), takes({ server: 'b' })]);
    const firsts = [one, other].filter((letter) => letter !== null);
    expect(firsts.length).toBeGreaterThan(0);
    const held = (await takes({ server: 'b' })) ?? (firsts.at(-1) as TakenLetter);
    expect(await takes({ server: 'a' })).toBe(null);
    for (const stale of firsts) if (stale.tries < held.tries) expect(await finish(stale)).toBe(null);
    expect(await finish(held)).toBe('sent');
    expect(await finish(held)).toBe(null);
  });

  test('letters of a server that is not alive any more are taken over at once', async () => {
    const { add, lead } = await noticedService(store);
    await lead(await add(), 'COMPLETED');
    expect(await takes({ server: 'was killed' })).toMatchObject({ tries: 1 });
    const again = (await takes({ server: 'b' })) as TakenLetter;
    expect(again).toMatchObject({ tries: 2 });
    expect(await takes({ server: 'a' })).toBe(null);
    await finish(again);
  });

  test('what fails is tried again later, or at once when the way is free; what is refused is given up', async () => {
    const { add, lead, id } = await noticedService(store);
    await lead(await add('first@x.org'), 'COMPLETED');
    await lead(await add('second@x.org'), 'COMPLETED');
    const [first, second] = [(await takes()) as TakenLetter, (await takes()) as TakenLetter];
    expect(await finish(first, 'failed')).toBe('waiting');
    expect(await finish(second, 'refused')).toBe('given-up');
    expect(await takes()).toBe(null);
    expect(await store.countLetters({ serviceId: id })).toEqual({
      waiting: 1,
      waitingMails: 1,
      failed: 1,
      lastError: 'no way',
    });
    expect(await store.hastenLetters({ channel: 'mail', address: null })).toBe(1);
    expect(await takeAll()).toMatchObject([{ uid: first.uid, tries: 2 }]);
    expect(await store.countLetters({ serviceId: id })).toMatchObject({ waiting: 0, failed: 1 });
  });

  test('a host that ends with a reason is told to administrators and web hooks, one that was told to end is not', async () => {
    const { key, host } = await noticedService(store, { told: { ...TOLD, webhooks: [HOOK] } });
    expect(await store.leaveService({ ...key, reason: 'the disk is full' })).toBe(2);
    expect(await takeAll()).toMatchObject([
      { kind: 'host-failed', told: [{ facts: { host: { host: 'node', pid: 7, reason: 'the disk is full' } } }] },
    ]);
    expect(await takeAll({ channel: 'hook' })).toMatchObject([
      { kind: 'event', address: HOOK, told: [{ facts: { event: 'host.failed' } }] },
    ]);
    const next = await host();
    expect(await store.leaveService({ ...key, number: next.number, reason: null })).toBe(0);
    expect(await takes()).toBe(null);
  });

  test('a host that is silent for too long is told of once, and its successor for itself', async () => {
    const { host } = await noticedService(store, { leaseMs: -1000 });
    expect(await store.tellSilentHosts({ silentMs: 600_000 })).toBe(0);
    expect(await store.tellSilentHosts({ silentMs: 500 })).toBe(1);
    expect(await store.tellSilentHosts({ silentMs: 500 })).toBe(0);
    expect(await takeAll({ windowMs: 0 })).toMatchObject([
      { kind: 'host-failed', told: [{ facts: { host: { reason: expect.stringContaining('nothing was heard') } } }] },
    ]);
    await host();
    expect(await store.tellSilentHosts({ silentMs: 500 })).toBe(1);
    await takeAll({ windowMs: 0 });
  });

  test('web hooks are told of every end, each with a letter of its own', async () => {
    const { add, lead, fail, go } = await noticedService(store, {
      told: { admins: [], users: true, webhooks: [HOOK] },
    });
    const [whole, failed, cancelled] = [await add(null), await add(null), await add(null)];
    await lead(whole, 'EXPIRED');
    await fail(failed);
    await go(cancelled, 'CANCELLED');
    const told = (await takeAll({ channel: 'hook' })).map((letter) => letter.told[0]?.facts);
    expect(told.map((facts) => `${facts?.event} ${facts?.job?.number}`)).toEqual([
      `job.completed ${whole.number}`,
      `job.archived ${whole.number}`,
      `job.expired ${whole.number}`,
      `job.failed ${failed.number}`,
      `job.cancelled ${cancelled.number}`,
    ]);
    expect(told[3]?.failure).toMatchObject({ hook: 'run', message: 'oh no' });
  });

  test('busy addresses are left out', async () => {
    const { failNew } = await noticedService(store, {
      told: { admins: [], users: true, webhooks: [HOOK, `${HOOK}/2`] },
    });
    await failNew();
    const except = [HOOK];
    expect(await takeAll({ channel: 'hook', except })).toMatchObject([{ address: `${HOOK}/2` }]);
    expect(await store.lettersDue({ channel: 'hook', server: 'a', aliveWithinMs: 60_000, except })).toMatchObject({
      isReady: false,
    });
    expect(await takeAll({ channel: 'hook' })).toMatchObject([{ address: HOOK }]);
  });

  test('old letters go, with their notices; those that wait stay, also when their job is deleted', async () => {
    const { add, lead, change, id } = await noticedService(store);
    await takeAll();
    const job = await add();
    await lead(job, 'COMPLETED');
    await change({ jobId: job.id, change: { kind: 'gone', step: 5 }, facts: {} });
    while ((await store.forgetLetters({ olderThanMs: -1000, most: 10 })) > 0);
    expect(await store.countLetters({ serviceId: id })).toMatchObject({ waiting: 1 });
    expect(await takeAll()).toHaveLength(1);
    expect(await store.forgetLetters({ olderThanMs: 3_600_000, most: 10 })).toBe(0);
    expect(await store.forgetLetters({ olderThanMs: -1000, most: 10 })).toBe(1);
  });

  test('failures written from two sides at the same time as a letter is taken: each is in one letter', async () => {
    const { add, fail, name } = await noticedService(store);
    const jobs = await Promise.all(Array.from({ length: 30 }, () => add(null)));
    let isOver = false;
    const seen: TakenLetter[] = [];
    const taker = (async () => {
      while (!isOver) {
        const letter = await takes({ windowMs: 0 });
        if (letter) {
          seen.push(letter);
          await finish(letter);
        }
      }
    })();
    for (let at = 0; at < jobs.length; at += 3) await Promise.all(jobs.slice(at, at + 3).map((job) => fail(job)));
    isOver = true;
    await taker;
    seen.push(...(await takeAll({ windowMs: 0 })));
    const told = seen
      .filter(({ service }) => service === name)
      .flatMap((letter) => letter.told.map(({ facts }) => facts.job?.number));
    expect(told.sort()).toEqual(jobs.map(({ number }) => number).sort());
    expect(seen.every((letter) => letter.notices === letter.told.length)).toBe(true);
  });
});
