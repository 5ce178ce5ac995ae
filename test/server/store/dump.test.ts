import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { JobState } from '../../../src/ground/base/job-state.ts';
import type { LoadWish } from '../../../src/server/store/dump/load-dump.ts';
import { readDump } from '../../../src/server/store/dump/read-dump.ts';
import type { DumpWish } from '../../../src/server/store/dump/snapshot.ts';
import { loadPostgres } from '../../../src/server/store/postgres/load-postgres.ts';
import { openPostgres } from '../../../src/server/store/postgres/open-postgres.ts';
import { sha256 } from '../../../src/server/store/secrets.ts';
import { loadSqlite } from '../../../src/server/store/sqlite/load-sqlite.ts';
import { openSqlite } from '../../../src/server/store/sqlite/open-sqlite.ts';
import type { Store } from '../../../src/server/store/store.ts';
import type { ChangeFacts } from '../../../src/server/store/verbs/change-service-jobs.ts';
import type { ServiceJobRow } from '../../../src/server/store/verbs/service-jobs.ts';
import { missing, POSTGRES } from '../../support/debian.ts';
import { arrayStep, openStores, reportOf, step, storeClients } from '../../support/open-stores.ts';
import { startPostgres } from '../../support/postgres.ts';

const ALL: DumpWish = { kind: 'all' };
const SAME: LoadWish = { identity: 'same', lost: [], hasSecrets: true };
const COPY: LoadWish = { identity: 'new', lost: [], hasSecrets: false };

async function dumpOf(store: Store, wish: DumpWish = ALL): Promise<Buffer> {
  const snapshot = await store.openSnapshot(wish);
  const pieces: Buffer[] = [];
  for await (const piece of snapshot.pieces()) pieces.push(piece);
  await snapshot.close();
  return Buffer.concat(pieces);
}

async function* inPieces(bytes: Buffer, size = 1000): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function intoSqlite(dump: Buffer, wish: LoadWish): Promise<{ store: Store; cancelled: number }> {
  const directory = mkdtempSync(join(tmpdir(), 'pilotage-restore-'));
  const { cancelled } = await loadSqlite(directory, readDump(inPieces(dump)), wish);
  const store = await openSqlite(directory);
  onTestFinished(async () => {
    await store.close();
    rmSync(directory, { recursive: true });
  });
  return { store, cancelled };
}

async function intoPostgres(dump: Buffer, wish: LoadWish): Promise<{ store: Store; cancelled: number }> {
  const postgres = await startPostgres();
  const url = await postgres.newDatabase();
  const { cancelled } = await loadPostgres(url, readDump(inPieces(dump)), wish);
  const store = await openPostgres(url, () => undefined);
  onTestFinished(async () => {
    await store.close();
    await postgres.stop();
  });
  return { store, cancelled };
}

const TARGETS: [string, typeof intoSqlite][] = [
  ['SQLite', intoSqlite],
  ...(missing(POSTGRES) ? [] : [['PostgreSQL', intoPostgres] as [string, typeof intoSqlite]]),
];

/** Something of many kinds: done, failed, running, waiting for another one, for a time. */
async function filled(store: Store) {
  const { id } = await store.createProject({ name: 'p', owner: 'o' });
  const clients = storeClients(store, id);
  const [done, failed] = (await clients.submit(arrayStep(3), step())) as [number, number];
  const worker = await clients.newWorker(100);
  const { claims } = await worker.exchange();
  await worker.exchange({
    reports: claims.map((claim) => reportOf(claim, claim.submission_id === failed ? 'failed' : 'succeeded')),
    most: 0,
  });
  const [running, waiting] = (await clients.submit(arrayStep(2), step({ after: [{ step: 0 }] }))) as [number, number];
  const [later] = (await clients.submit(step({ notBefore: Date.now() + 1e9 }))) as [number];
  const open = await worker.exchange();
  await clients.settle();
  return { id, clients, worker, open: open.claims, ids: { done, failed, running, waiting, later } };
}

/** A service whose host has one job that is complete, one on its way to RUNNING, and one that comes after that. */
async function withService(store: Store) {
  const { id: projectId } = await store.createProject({ name: 'services', owner: 'o' });
  const at = { projectId, name: 'live', title: null, schema: '{}', mostWaiting: null, mostOfOwner: null };
  const host = async (of: Store, over: { incoming: string; expireMs: number | null; takeOver: number | null }) => {
    const how = { ...at, archiveMs: 0, host: '{}', secretHash: sha256(over.incoming), leaseMs: 60_000, ...over };
    const made = await of.hostService(how);
    if (!made.ok) throw new Error('it has a host');
    return { ...made, key: { projectId, name: 'live', number: made.number, secretHash: how.secretHash } };
  };
  const { id: serviceId, key } = await host(store, { incoming: '/live/in', expireMs: 1e9, takeOver: null });
  const add = async (after: string[] = []) => {
    const job = { projectId, serviceId, uid: randomUUID(), name: null, owner: 'o', linkHash: 'hash', contact: null };
    const made = await store.createServiceJob({
      ...job,
      requestId: randomUUID(),
      parameters: '{}',
      directory: null,
      inputs: [],
      after,
    });
    if (!made.ok) throw new Error(made.refusal);
    return made.number;
  };
  const jobOf = (of: Store, number: string) => of.getServiceJob({ projectId, number });
  const change = async (number: string, to: JobState, facts: ChangeFacts) => {
    const { job_id: jobId, step: before } = (await jobOf(store, number)) as ServiceJobRow;
    const begin = { jobId, change: { kind: 'begin', step: before, to }, facts } as const;
    const arrive = { jobId, change: { kind: 'arrive', step: before + 1 }, facts: { directory: facts.target } } as const;
    const settle = { jobId, change: { kind: 'settle', step: before + 1 }, facts: {} } as const;
    await store.changeServiceJobs({
      ...key,
      leaseMs: 60_000,
      changes: to === 'RUNNING' ? [begin] : [begin, arrive, settle],
    });
  };
  const [complete, running] = [await add(), await add()];
  const child = await add([running]);
  for (const number of [complete, running]) await change(number, 'PREPROCESSING', { target: `/live/jobs/${number}` });
  await change(complete, 'COMPLETED', { target: `/live/jobs/${complete}` });
  await change(running, 'RUNNING', { target: `/live/jobs/${running}`, runner: '{"kind":"pool"}' });
  return { projectId, key, host, jobOf, complete, running, child };
}

const stores = openStores();

describe.each(stores)('a dump of %s', (_name, open) => {
  test('is what was there at the moment of the opening, whatever happens while it is read', async () => {
    const { store, close } = await open();
    onTestFinished(close);
    const { clients } = await filled(store);
    const before = await dumpOf(store);
    const snapshot = await store.openSnapshot(ALL);
    await clients.submit(arrayStep(500));
    const pieces: Buffer[] = [];
    for await (const piece of snapshot.pieces()) pieces.push(piece);
    await snapshot.close();
    const rows = (dump: Buffer) => dump.toString().split('\n').slice(1);
    expect(rows(Buffer.concat(pieces))).toEqual(rows(before));
  });

  describe.each(TARGETS)('restored into %s', (_target, into) => {
    test('as the same server: all is there, and a worker that was running goes on and reports', async () => {
      const { store, close } = await open();
      onTestFinished(close);
      const { ids, worker, open: claims } = await filled(store);
      const restored = await into(await dumpOf(store), SAME);
      expect(restored.cancelled).toBe(0);
      const counts = async (of: Store) =>
        (await of.getSubmissions({ ids: Object.values(ids) })).map((one) => one.counts);
      expect(await counts(restored.store)).toEqual(await counts(store));
      const answer = await restored.store.exchange({
        session: worker.session,
        sessionSecret: 's3cret',
        number: 50,
        held: [],
        compare: false,
        reports: claims.map((claim) => reportOf(claim)),
        logs: [],
        free: { cpus: 1, memory: 0, gpus: 0, named: {} },
        ahead: 0,
        most: 0,
        lease: { heartbeatMs: 30_000, leaseMs: 60_000 },
        reserveAfterMs: 1e12,
        mayEnter: null,
      });
      expect(answer).toMatchObject({ kind: 'done', answers: claims.map(() => 'accepted') });
    });

    test('as the same server: numbers that may have been given since the backup are not given again', async () => {
      const { store, close } = await open();
      onTestFinished(close);
      const { clients, id } = await filled(store);
      const dump = await dumpOf(store);
      const lost = (await clients.submit(arrayStep(1), arrayStep(1))) as number[];
      const restored = await into(dump, SAME);
      const [next] = await storeClients(restored.store, id, 'other').submit(step());
      expect(next).toBeGreaterThan(Math.max(...lost) + 1000);
    });

    test('as a copy: what was unfinished is cancelled, nothing is handed out, and a retry runs it all', async () => {
      const { store, close } = await open();
      onTestFinished(close);
      const { ids, id } = await filled(store);
      const restored = await into(await dumpOf(store), COPY);
      const clients = storeClients(restored.store, id, 'other');
      await clients.settle();
      expect(restored.cancelled).toBe(4);
      expect(await clients.countsOf(ids.done)).toMatchObject({ succeeded: 3 });
      expect(await clients.countsOf(ids.running)).toMatchObject({ cancelled: 2, running: 0, queued: 0 });
      expect(await clients.countsOf(ids.waiting)).toMatchObject({ cancelled: 1, waiting: 0 });
      expect(await clients.drain()).toBe(0);
      expect(await restored.store.listWorkers({ all: true })).toEqual(
        expect.arrayContaining([expect.objectContaining({ state: 'ended' })]),
      );
      await restored.store.retryTasks({ submission: ids.running, idx: null, failedOnly: false });
      await restored.store.retryTasks({ submission: ids.waiting, idx: null, failedOnly: false });
      expect(await clients.drain()).toBe(3);
      expect(await clients.countsOf(ids.waiting)).toMatchObject({ succeeded: 1 });
    });

    test('as a copy: it knows no directory of the jobs of services, and has nothing to do for any', async () => {
      const { store, close } = await open();
      onTestFinished(close);
      const { projectId, host, jobOf, complete, running, child } = await withService(store);
      expect(await jobOf(store, running)).toMatchObject({ directory: `/live/jobs/${running}`, intent: 'RUNNING' });
      const copy = (await into(await dumpOf(store), COPY)).store;
      const nowhere = {
        directory: null,
        target: null,
        intent: null,
        wish: null,
        runner: null,
        due_at: null,
        active: 0,
      };
      expect(await jobOf(copy, complete)).toMatchObject({ state: 'COMPLETED', ...nowhere });
      for (const number of [running, child])
        expect(await jobOf(copy, number)).toMatchObject({ state: 'FAILED', ...nowhere });
      expect(await copy.getJob({ projectId, number: running })).toMatchObject({
        reason: 'it was PREPROCESSING when its server was copied, and cannot go on in the copy',
        finished_at: expect.any(Number),
      });
      expect((await copy.listServices({ projectId }))[0]).toMatchObject({ name: 'live', incoming: null });
      const { key } = await host(copy, { incoming: '/copy/in', expireMs: null, takeOver: null });
      const jobs = async () => (await copy.pollService({ ...key, leaseMs: 60_000, after: 0, most: 100 }))?.jobs;
      expect((await jobs())?.map(({ number, directory }) => [number, directory])).toEqual([[complete, null]]);
      const wish = (number: string) =>
        copy.wishServiceJobs({ projectId, wish: 'resubmit', reason: null, numbers: [number], serviceId: null });
      expect(await wish(child)).toMatchObject({ refused: [{ number: child }] });
      expect(await wish(running)).toMatchObject({ wished: [{ number: running }] });
    });
  });

  test('is refused when it breaks off at any line, and when a line is damaged', async () => {
    const { store, close } = await open();
    onTestFinished(close);
    await filled(store);
    const lines = (await dumpOf(store)).toString().trimEnd().split('\n');
    const read = async (text: string) => {
      for await (const _ of readDump(inPieces(Buffer.from(text))));
    };
    await read(`${lines.join('\n')}\n`);
    for (let n = 1; n < lines.length; n += 1)
      await expect(read(`${lines.slice(0, n).join('\n')}\n`), `${n} lines`).rejects.toThrow('breaks off');
    const without = lines.toSpliced(
      lines.findIndex((line) => line.startsWith('[')),
      1,
    );
    await expect(read(`${without.join('\n')}\n`)).rejects.toThrow(/rows should have come/);
    await expect(read(`${lines.join('\n').replace('"table":"projects"', '"table":"Pro; drop"')}\n`)).rejects.toThrow(
      'names no table',
    );
  });

  test('a project is dumped alone: nothing of another one is in it', async () => {
    const { store, close } = await open();
    onTestFinished(close);
    const { id } = await filled(store);
    const other = await store.createProject({ name: 'secret', owner: 'somebody-else' });
    await storeClients(store, other.id, 'other').submit(step({ spec: '{"command":["secret"]}' }));
    const text = (await dumpOf(store, { kind: 'project', projectId: id })).toString();
    expect(text).toContain('"tasks"');
    for (const word of ['secret', 'somebody-else', 'session_id', 'host_secret', 'link_hash', sha256('s3cret')])
      expect(text).not.toContain(word);
  });
});

test('a dump of the first version is brought up to date, one of a newer version is refused', async () => {
  const lines = [
    '{"dump":1,"schema":1,"dialect":"sqlite","at":5,"sequence":7,"ids":{"projects":3}}',
    '{"table":"projects","columns":["id","name","owner","created_at"]}',
    '[3,"old","somebody",4]',
    '{"files":["digest","size","gone"]}',
    '{"end":1}',
    '',
  ];
  const { store } = await intoSqlite(Buffer.from(lines.join('\n')), SAME);
  expect(await store.listProjects()).toEqual([expect.objectContaining({ id: 3, name: 'old', quota_bytes: null })]);
  const newer = Buffer.from(lines.join('\n').replace('"schema":1', '"schema":999'));
  await expect(intoSqlite(newer, SAME)).rejects.toMatchObject({ code: 'incompatible-version' });
});
