import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Store } from '../../../src/server/store/store.ts';
import type { BorrowedGroup } from '../../../src/server/store/verbs/borrowed.ts';
import type { ExchangeInput } from '../../../src/server/store/verbs/exchange-input.ts';
import type { StoredReport } from '../../../src/server/store/verbs/stored-report.ts';
import {
  arrayStep,
  type ClaimRow,
  heldOf,
  NO_LEASE,
  openStores,
  reportOf,
  storeClients,
} from '../../support/open-stores.ts';

const ONE_CPU = '["command",1,0,0,0,[],[]]';
const id = (letter: string): string => letter.repeat(64);
/** What a neighbour asks for: the cpus that are free at each of its workers, and the projects that it may have. */
type Asked = Partial<ExchangeInput> & { cpus?: number[]; projects?: number[] };
const ranFor = (cpuSeconds: number, claim: ClaimRow): StoredReport => ({ ...reportOf(claim), cpuSeconds });

describe.each(openStores())('neighbours in the store on %s', (_name, open) => {
  let store: Store;
  let close: () => Promise<void>;
  let projectId: number;
  let clients: ReturnType<typeof storeClients>;
  beforeAll(async () => {
    ({ store, close } = await open());
    projectId = (await store.createProject({ name: 'p', owner: 'o' })).id;
    clients = storeClients(store, projectId);
  });
  afterAll(() => close());

  const ask = (
    letter: string,
    by: 'us' | 'them',
    over: { name?: string; places?: string; mostReceived?: number } = {},
  ) =>
    store.requestPeer({
      id: id(letter),
      name: over.name ?? `host-${letter}`,
      certificate: 'PEM',
      places: over.places ?? '[]',
      version: '1',
      by,
      mostReceived: over.mostReceived ?? 100,
    });
  const peer = async (letter: string) => (await store.listPeers()).find((row) => row.id === id(letter));
  const submit = async (cpus = 1, count = 1): Promise<number> => {
    const [made] = await clients.submit(arrayStep(count, { cpus }));
    return made as number;
  };
  /** A neighbour's session: what is free at its workers is in what it asks for, and not in what it is. */
  const neighbour = async (letter: string, over: Parameters<typeof clients.newWorker>[1] = {}) => {
    const worker = await clients.newWorker(0, { ...over, peer: id(letter) });
    const exchange = ({ cpus = [], projects = [projectId], ...more }: Asked = {}) => {
      const bins = cpus.map((each) => {
        const room = { cpus: each, memory: 1e9, gpus: 0, named: {} };
        return { total: room, free: room, labels: {}, remainingSeconds: null };
      });
      return worker.exchange({ ...more, neighbour: { projects, bins } });
    };
    return { ...worker, exchange };
  };
  const group = (letter: string, indices: number[], over: Partial<BorrowedGroup> = {}): BorrowedGroup => ({
    peerId: id(letter),
    project: { name: `@host-${letter}/q`, home: JSON.stringify({ at: 'q', path: [id(letter)] }) },
    owner: `@host-${letter}`,
    shapeKey: ONE_CPU,
    spec: '{"command":["true"],"retry":{"lostLimit":1}}',
    hasCheckpoint: false,
    digests: [],
    sealed: 'sealed',
    tasks: indices.map((idx) => ({
      idx,
      payload: null,
      inputs: null,
      task: `7.${idx}`,
      attempt: 1,
      facts: '{"home":{}}',
    })),
    ...over,
  });

  test('requests of both sides: one entry, trust by answer or by two requests, and a neighbour is not moved by a stranger', async () => {
    expect(await ask('a', 'them')).toMatchObject({ was: null, peer: { state: 'received', name: 'host-a' } });
    expect(await ask('a', 'them', { places: '[1]' })).toMatchObject({ was: 'received', peer: { places: '[1]' } });
    expect(await store.trustPeer({ id: id('a') })).toMatchObject({ state: 'trusted', priority: 0 });
    expect(await store.trustPeer({ id: id('a') })).toBeUndefined();
    expect(await ask('a', 'them', { places: '["elsewhere"]' })).toMatchObject({
      was: 'trusted',
      peer: { places: '[1]' },
    });
    expect(await ask('a', 'us', { places: '["here"]' })).toMatchObject({
      was: 'trusted',
      peer: { places: '["here"]', state: 'trusted' },
    });
    // Asked by both: wanted by both, once the other one has proven who it is. Its request alone proves nothing.
    await ask('b', 'us', { places: '["where it answered"]' });
    expect(await ask('b', 'them', { places: '["elsewhere"]' })).toMatchObject({
      was: 'sent',
      peer: { state: 'sent', places: '["where it answered"]' },
    });
    expect(await store.acceptTrust({ id: id('b') })).toBe(true);
    expect(await peer('b')).toMatchObject({ state: 'trusted', priority: 1 });
    await ask('f', 'them');
    expect(await ask('f', 'us')).toMatchObject({ was: 'received', peer: { state: 'trusted', priority: 2 } });
    await store.revokePeer({ id: id('f'), as: 'ending' });
    expect(await ask('f', 'them')).toMatchObject({ peer: { state: 'ending' } });
    await store.forgetPeer({ id: id('f') });
    await ask('c', 'us');
    expect(await store.trustPeer({ id: id('c') })).toBeUndefined();
    expect(await store.acceptTrust({ id: id('c') })).toBe(true);
    expect(await peer('c')).toMatchObject({ state: 'trusted', priority: 2 });
    expect(await ask('d', 'them', { name: 'host-a' })).toMatchObject({ peer: { name: 'host-a-2' } });
    expect(await ask('e', 'them', { mostReceived: 1 })).toBe('too-many');
    expect(await ask('d', 'them', { mostReceived: 1 })).toMatchObject({ was: 'received' });
  });

  test('priorities are places in an order; the end of a trust closes the gap', async () => {
    expect(await store.setPeerPriority({ id: id('c'), priority: 0 })).toBe(true);
    const order = async () =>
      (await store.listPeers())
        .filter(({ state }) => state === 'trusted')
        .map((row) => [row.id[0], Number(row.priority)]);
    expect(await order()).toEqual([
      ['c', 0],
      ['a', 1],
      ['b', 2],
    ]);
    expect(await store.setPeerPriority({ id: id('c'), priority: 99 })).toBe(true);
    expect(await order()).toEqual([
      ['a', 0],
      ['b', 1],
      ['c', 2],
    ]);
    expect(await store.setPeerPriority({ id: id('d'), priority: 0 })).toBe(false);
    expect(await store.revokePeer({ id: id('a'), as: 'ending' })).toMatchObject({ state: 'trusted' });
    expect(await order()).toEqual([
      ['b', 0],
      ['c', 1],
    ]);
    await store.forgetPeer({ id: id('b') });
    await store.forgetPeer({ id: id('a') });
    expect(await peer('a')).toBeUndefined();
    expect(await peer('b')).toBeDefined();
  });

  test('a neighbour claims what fits its bins, from the projects that it may have, and nothing is charged to its silence', async () => {
    await clients.drain();
    const wide = await submit(3);
    const small = await submit(1, 5);
    const other = (await store.createProject({ name: 'other', owner: 'o' })).id;
    const it = await neighbour('b', { lease: NO_LEASE });
    expect((await it.exchange({ projects: [other], cpus: [4] })).claims).toEqual([]);
    const { claims } = await it.exchange({ cpus: [2, 1] });
    expect(claims.map(({ submission_id: submission }) => submission)).toEqual([small, small, small]);
    expect((await it.exchange({ held: claims.map(heldOf) })).claims).toEqual([]);
    await store.rescueExpired();
    const back = await store.getTask({ submission: small, idx: 1 });
    expect([back?.state, back?.losses]).toEqual(['queued', 0]);
    // The same attempt is its own again when it comes back before anybody else took it.
    const again = await it.exchange({
      held: claims.map(heldOf),
    });
    expect(again.drop).toEqual([]);
    const done = await it.exchange({ reports: claims.map((claim) => ranFor(1.5, claim)) });
    expect(done.answers).toEqual(['accepted', 'accepted', 'accepted']);
    expect(Number((await peer('b'))?.borrowed_ms)).toBe(4500);
    expect((await store.listWorkers({ all: true })).some(({ name }) => name === it.session)).toBe(false);
    expect((await store.getTask({ submission: wide, idx: 1 }))?.state).toBe('queued');
    await clients.drain();
  });

  test('what a neighbour was given and does not know of goes back uncharged; a leaving one keeps what it has', async () => {
    const one = await submit(1, 2);
    const it = await neighbour('b');
    const { claims } = await it.exchange({ cpus: [2] });
    expect(claims.length).toBe(2);
    expect(await store.leaveWorker({ session: it.session, sessionSecret: 's3cret' })).toBe(0);
    expect((await store.getTask({ submission: one, idx: 1 }))?.state).toBe('running');
    await neighbour('b', { replaces: { session: it.session, held: [{ submission: one, idx: 1, attempt: 1 }] } });
    expect((await store.getTask({ submission: one, idx: 1 }))?.state).toBe('running');
    const given = await store.getTask({ submission: one, idx: 2 });
    expect([given?.state, given?.losses]).toEqual(['queued', 0]);
    expect(await store.dropPeerSessions({ peerId: id('b') })).toBe(1);
    expect((await store.getTask({ submission: one, idx: 1 }))?.state).toBe('queued');
    await clients.drain();
  });

  test('borrowed tasks are claimed after all of our own, reported once, and leave the pool when they are settled', async () => {
    const [borrowed] = await store.borrowTasks({ groups: [group('c', [5, 9])] });
    const own = await submit(1, 2);
    const it = await clients.newWorker(3);
    const { claims } = await it.exchange();
    expect(claims.map(({ submission_id: submission, idx }) => `${submission}.${idx}`)).toEqual([
      `${own}.1`,
      `${own}.2`,
      `${borrowed}.5`,
    ]);
    expect(claims[2]).toMatchObject({ project: '@host-c/q', extras: 8 });
    expect(await store.countPeerTasks()).toContainEqual({ peer_id: id('c'), here: 2, there: 0 });
    expect(
      (await store.borrowedLoad()).map((row) => ({ ...row, queued: Number(row.queued), running: Number(row.running) })),
    ).toEqual([{ peer_id: id('c'), key: ONE_CPU, queued: 1, running: 1 }]);
    expect((await store.endedBorrowed({ peerId: id('c') })).ended).toEqual([]);
    const { upTo: before } = await store.endedBorrowed({ peerId: id('c') });
    await it.exchange({
      most: 0,
      reports: claims.map((claim) => ({
        ...ranFor(1.5, claim),
        logs: [{ stream: 'stdout', size: 2, data: 'aGk=', digest: null }],
      })),
    });
    const since = (after: number, most = 500) => store.endedSince({ peerId: id('c'), after, most });
    const { ended: keys, upTo } = await store.endedBorrowed({ peerId: id('c') });
    expect(keys).toEqual([{ submission: borrowed, idx: 5 }]);
    const { ended, logs } = await store.readEnded({ keys });
    expect(ended).toMatchObject([
      { task: '7.5', attempt: 1, state: 'succeeded', project: '@host-c/q', cpu_seconds: 1.5 },
    ]);
    expect(logs).toMatchObject([{ stream: 'stdout', data: 'aGk=' }]);
    const news = await since(before);
    expect(news).toMatchObject({ upTo, ended, logs });
    expect(upTo).toBeGreaterThan(before);
    // As many as are wanted; the next look begins after the last of them.
    expect(await since(before, 1)).toMatchObject({ upTo: Number(news.ended[0]?.sequence), ended });
    // What changes besides is passed over once.
    expect(await since(upTo)).toEqual({ upTo, ended: [], logs: [] });
    await store.endTasks({ submission: await submit(1, 1), idx: null, as: 'cancelled', limit: 10 });
    const beyond = await since(upTo);
    expect(beyond.ended).toEqual([]);
    expect(beyond.upTo).toBeGreaterThan(upTo);
    // Nobody here takes back or away what its home waits for.
    expect(await store.retryTasks({ submission: borrowed as number, idx: 5, failedOnly: false })).toBe(0);
    expect(await store.settleBorrowed({ peerId: id('c'), cpuMs: 1500, keys })).toEqual([]);
    expect(Number((await peer('c'))?.lent_ms)).toBe(1500);
    expect(await store.giveBackBorrowed({ peerId: null, olderMs: 60_000 })).toBe(0);
    expect(await store.giveBackBorrowed({ peerId: id('c'), olderMs: 0 })).toBe(1);
    const { ended: given } = await store.endedBorrowed({ peerId: id('c') });
    expect((await store.readEnded({ keys: given })).ended).toMatchObject([{ task: '7.9', state: 'cancelled' }]);
    expect(await store.retryTasks({ submission: borrowed as number, idx: null, failedOnly: false })).toBe(0);
    expect(await store.forgetSubmission({ id: borrowed as number })).toBe('borrowed');
    expect(await store.settleBorrowed({ peerId: id('c'), cpuMs: 0, keys: given })).toEqual([borrowed]);
    expect(await store.forgetSubmission({ id: borrowed as number })).toBe('forgotten');
  });

  test('what came by another way is another project; the end of a trust ends what is borrowed', async () => {
    const elsewhere = { name: '@host-c/q', home: JSON.stringify({ at: 'q', path: ['x', id('c')] }) };
    const ids = await store.borrowTasks({ groups: [group('c', [1]), group('c', [1], { project: elsewhere })] });
    const names = (await store.listBorrowed({ peerId: id('c') })).map(({ project }) => project);
    expect(names).toEqual(['@host-c/q', '@host-c/q+2']);
    const it = await clients.newWorker(4);
    await it.exchange();
    expect(await store.endBorrowed({ peerId: id('c') })).toEqual([it.session]);
    expect(await store.listBorrowed({ peerId: id('c') })).toEqual([]);
    for (const submission of ids) expect((await store.getTask({ submission, idx: 1 }))?.state).toBe('cancelled');
    expect(await store.borrowedLeftovers()).toEqual(ids);
    for (const submission of ids) expect(await store.forgetSubmission({ id: submission })).toBe('forgotten');
    expect(await store.borrowedLeftovers()).toEqual([]);
    await clients.drain();
  });

  test('supply is what our workers have free and no task of ours waits for; demand is what has tasks to claim', async () => {
    await clients.drain();
    for (const worker of await store.listWorkers({ all: false }))
      await store.leaveWorker({ session: worker.session_id, sessionSecret: 's3cret' });
    const free = async () => (await store.findSupply()).idle.map((one) => one.free.cpus).sort();
    await clients.newWorker(4);
    await clients.newWorker(2);
    await clients.newWorker(7, { projects: [projectId] });
    await clients.newWorker(9, { peer: id('b') });
    expect(await free()).toEqual([2, 4]);
    expect(Number((await store.findSupply()).cpus)).toBe(6);
    expect(await store.findDemand()).toEqual([]);
    await submit(3);
    // The larger one will take it; the smaller one could not.
    expect(await free()).toEqual([2]);
    expect(await store.findDemand()).toMatchObject([{ project: 'p', peer_id: null, key: '["command",3,0,0,0,[],[]]' }]);
    await store.borrowTasks({ groups: [group('c', [1])] });
    expect(await free()).toEqual([2]);
    expect((await store.findDemand()).map(({ project }) => project).sort()).toEqual(['@host-c/q', 'p']);
  });

  test('a neighbour takes back only what it may have, and writes no progress on what is not its own', async () => {
    await clients.drain();
    const one = await submit(1, 1);
    const it = await neighbour('b', { lease: NO_LEASE });
    const [claim] = (await it.exchange({ cpus: [1] })).claims;
    const held = [{ submission: one, idx: 1, attempt: claim?.attempt ?? 0, progress: '{"fraction":1}' }];
    expect(await store.peerProjects({ id: id('b') })).toEqual(['p']);
    await store.rescueExpired();
    expect(await store.peerProjects({ id: id('b') })).toEqual([]);
    // It was told meanwhile that nothing of this project goes there any more.
    expect((await it.exchange({ projects: [], held })).drop).toHaveLength(1);
    expect((await store.getTask({ submission: one, idx: 1 }))?.state).toBe('queued');
    expect((await (await clients.newWorker(4)).exchange()).claims).toHaveLength(1);
    expect((await it.exchange({ held: held.map((key) => ({ ...key, attempt: 2 })) })).drop).toHaveLength(1);
    expect((await store.getTask({ submission: one, idx: 1 }))?.progress ?? null).toBeNull();
    await clients.drain();
  });

  test('what somebody still runs whose lease ran out comes back to who takes its place, and is not given to it anew', async () => {
    await clients.drain();
    const one = await submit(1, 1);
    const before = await neighbour('b', { lease: NO_LEASE });
    const [claim] = (await before.exchange({ cpus: [1] })).claims;
    await store.rescueExpired();
    const held = [{ submission: one, idx: 1, attempt: 1 }];
    const next = await neighbour('b', { replaces: { session: before.session, held } });
    const first = await next.exchange({ cpus: [4], held: held.map((key) => ({ ...key, progress: null })) });
    expect([first.claims, first.drop]).toEqual([[], []]);
    const task = await store.getTask({ submission: one, idx: 1 });
    expect([task?.state, task?.attempt]).toEqual(['running', 1]);
    expect((await next.exchange({ reports: [reportOf(claim as ClaimRow)] })).answers).toEqual(['accepted']);
    await clients.drain();
  });

  test('who has all workers drained or stopped ends no neighbour', async () => {
    const [own, other] = [await clients.newWorker(4), await neighbour('b')];
    const told = await store.instructWorkers({ names: null, instruction: 'drain' });
    expect([told.includes(own.session), told.includes(other.session)]).toEqual([true, false]);
    expect(await store.instructWorkers({ names: [other.session], instruction: 'stop' })).toEqual([]);
    expect((await other.exchange()).instruction).toBe('work');
  });

  test('of the servers of one database one keeps the links, until it is silent', async () => {
    if (store.dialect === 'sqlite') {
      expect(await store.leadPeers({ serverId: 'one', leaseMs: 1000 })).toBe(true);
      return;
    }
    expect(await store.leadPeers({ serverId: 'one', leaseMs: 600_000 })).toBe(true);
    expect(await store.leadPeers({ serverId: 'two', leaseMs: 600_000 })).toBe(false);
    await store.leavePeers({ serverId: 'two' });
    expect(await store.leadPeers({ serverId: 'one', leaseMs: -1 })).toBe(true);
    expect(await store.leadPeers({ serverId: 'two', leaseMs: 600_000 })).toBe(true);
    await store.leavePeers({ serverId: 'two' });
    expect(await store.leadPeers({ serverId: 'one', leaseMs: 1000 })).toBe(true);
  });
});
