import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { hashBytes } from '../../../src/ground/content/hash-file.ts';
import { faultOfJson } from '../../../src/main/serve/fault-of-json.ts';
import { createImports } from '../../../src/server/backup/imports.ts';
import { putBlobs } from '../../../src/server/pool/files.ts';
import type { DumpWish } from '../../../src/server/store/dump/snapshot.ts';
import type { Store } from '../../../src/server/store/store.ts';
import { arrayStep, openStores, reportOf, step, storeClients } from '../../support/open-stores.ts';
import { poolParts, principal } from '../../support/pool-parts.ts';

const ADMIN = principal('admin', ['admin']);
const BYTES = Buffer.from('a result');
const DIGEST = hashBytes(BYTES).digest;

async function linesOf(store: Store, wish: DumpWish = { kind: 'all' }): Promise<string[]> {
  const snapshot = await store.openSnapshot(wish);
  const pieces: Buffer[] = [];
  for await (const piece of snapshot.pieces()) pieces.push(piece);
  await snapshot.close();
  return Buffer.concat(pieces).toString().trimEnd().split('\n');
}

/** All rows, but for shapes, which all projects share and which stay, and what was ever used, which is only a sum. */
async function rowsOf(store: Store): Promise<string[]> {
  const lines = await linesOf(store);
  let table = '';
  return lines.flatMap((line) => {
    table = /^\{"table":"(\w+)"/.exec(line)?.[1] ?? table;
    return line.startsWith('{') || ['shapes', 'project_usage', 'blobs', 'queues'].includes(table)
      ? []
      : [`${table} ${line}`];
  });
}

async function exported(open: ReturnType<typeof openStores>[number][1]) {
  const { store, close } = await open();
  const { id } = await store.createProject({ name: 'old', owner: 'o' });
  const parts = await poolParts(store);
  await putBlobs(parts, ADMIN, 'old', [{ digest: DIGEST, bytes: BYTES }]);
  const clients = storeClients(store, id);
  const ids = await clients.submit(
    arrayStep(3, { digests: [DIGEST] }),
    step({ after: [{ step: 0 }], from: [{ step: 0 }], spec: '{"from":[{"step":"x"}]}' }),
  );
  const worker = await clients.newWorker(10);
  const { claims } = await worker.exchange({ most: 2 });
  await worker.exchange({ reports: [reportOf(claims[0]!)], most: 0 });
  await clients.settle();
  const lines = await linesOf(store, { kind: 'project', projectId: id });
  const imports = createImports(parts, faultOfJson);
  onTestFinished(async () => {
    await imports.stop();
    await close();
  });
  const bring = async (text: string, project = 'new', quotaBytes?: number) => {
    const started = await imports.start(ADMIN, { project, quotaBytes });
    await putBlobs(parts, ADMIN, started.place, [{ digest: DIGEST, bytes: BYTES }]);
    return imports.rows(ADMIN, { id: started.id, project }, Readable.from([gzipSync(text)]));
  };
  return { store, parts, clients, imports, lines, ids, bring };
}

const whole = (lines: readonly string[]) => `${lines.join('\n')}\n`;
/** The first row of a table, changed. */
const changed = (lines: readonly string[], table: string, change: (row: unknown[]) => unknown[]): string => {
  const at = lines.findIndex((line) => line.startsWith(`{"table":"${table}"`)) + 1;
  return whole(lines.with(at, JSON.stringify(change(JSON.parse(lines[at] as string)))));
};
const put = (lines: readonly string[], table: string, column: string, value: unknown): string => {
  const head = lines.find((line) => line.startsWith(`{"table":"${table}"`)) as string;
  const at = (JSON.parse(head).columns as string[]).indexOf(column);
  if (at < 0) throw new Error(`${table} has no ${column}`);
  return changed(lines, table, (row) => row.with(at, value));
};

describe.each(openStores())('an import on %s', (name, open) => {
  test('gives submissions new numbers, and what refers to them follows; what was unfinished is cancelled', async () => {
    const { store, clients, ids, lines, bring } = await exported(open);
    const reply = await bring(whole(lines));
    expect(reply).toMatchObject({ project: 'new', tasks: 4, cancelled: 3 });
    expect(reply.submissions.map(({ from }) => from)).toEqual(ids);
    const [array, next] = reply.submissions.map(({ to }) => to) as [number, number];
    expect(ids).not.toContain(array);
    const [one, two] = await store.getSubmissions({ ids: [array, next] });
    expect(one).toMatchObject({ project: 'new', counts: { succeeded: 1, cancelled: 2, queued: 0, running: 0 } });
    expect(two).toMatchObject({ counts: { cancelled: 1 } });
    const [found] = await store.getSpecs({ ids: [next] });
    expect(JSON.parse(found?.spec ?? '')).toEqual({ from: [{ submission: array }] });
    expect(await clients.countsOf(ids[0]!)).toMatchObject({ succeeded: 1, queued: 1, running: 1 });
    await clients.settle();
    for (const submission of [array, next]) await store.retryTasks({ submission, idx: null, failedOnly: false });
    const project = (await store.listProjects()).find(({ name }) => name === 'new');
    await storeClients(store, project!.id, 'later').drain();
    expect((await store.getSubmissions({ ids: [next] }))[0]?.counts).toMatchObject({ succeeded: 1 });
  });

  test('is seen by nobody before it is whole', async () => {
    const { store, parts, imports, lines } = await exported(open);
    const { id, place } = await imports.start(ADMIN, { project: 'new' });
    await putBlobs(parts, ADMIN, place, [{ digest: DIGEST, bytes: BYTES }]);
    const seen: unknown[] = [];
    const text = gzipSync(whole(lines));
    async function* slowly() {
      for (const byte of text) yield Buffer.from([byte]);
      seen.push(
        ...(await store.listProjects()).map(({ name }) => name),
        ...(await store.listSubmissions({ projectIds: null, before: null, limit: 100 })),
      );
    }
    await imports.rows(ADMIN, { id, project: 'new' }, Readable.from(slowly()));
    expect(seen).toHaveLength(1 + 2);
    expect((await store.listProjects()).map(({ name }) => name)).toEqual(['new', 'old']);
  });

  test.each([
    ['whose specification is none', (lines: string[]) => put(lines, 'submissions', 'spec', '{"command":"rm"}')],
    ['whose specification is no JSON', (lines: string[]) => put(lines, 'submissions', 'spec', '{')],
    ['with a task of nothing', (lines: string[]) => put(lines, 'tasks', 'submission_id', 4711)],
    ['with a task twice', (lines: string[]) => put(lines, 'tasks', 'idx', 2)],
    ['with an unknown state', (lines: string[]) => put(lines, 'tasks', 'state', 'dancing')],
    ['with a negative attempt', (lines: string[]) => put(lines, 'tasks', 'attempt', -1)],
    ['with an attempt beyond all numbers', (lines: string[]) => put(lines, 'tasks', 'attempt', 1e300)],
    ['with a text for a number', (lines: string[]) => put(lines, 'tasks', 'attempt', '1; drop table tasks')],
    [
      'with a payload that is nested too deep',
      (lines: string[]) => put(lines, 'tasks', 'payload', `${'['.repeat(1000)}${']'.repeat(1000)}`),
    ],
    ['of a time that no date has', (lines: string[]) => put(lines, 'submissions', 'created_at', 8.64e15 + 1)],
    [
      'of an end that cannot be written',
      (lines: string[]) => put(lines, 'attempts', 'ended_at', 9_007_199_254_740_991),
    ],
    ['with a time before all', (lines: string[]) => put(lines, 'tasks', 'finished_at', -1)],
    ['with an attempt after which none comes', (lines: string[]) => put(lines, 'tasks', 'attempt', 2 ** 53 - 1)],
    ['with outputs that are none', (lines: string[]) => put(lines, 'attempts', 'outputs', '5')],
    [
      'with outputs of no digest',
      (lines: string[]) => put(lines, 'attempts', 'outputs', '[{"name":"a","digest":"x","kind":"file","size":1}]'),
    ],
    [
      'with outputs that lead upwards',
      (lines: string[]) =>
        put(lines, 'attempts', 'outputs', `[{"name":"../a","digest":"${DIGEST}","kind":"file","size":1}]`),
    ],
    ['with inputs that are none', (lines: string[]) => put(lines, 'tasks', 'inputs', '7')],
    ['with progress beyond all', (lines: string[]) => put(lines, 'tasks', 'progress', '{"fraction":2}')],
    ['with a shape that nobody could match', (lines: string[]) => put(lines, 'shapes', 'key', '["command","many"]')],
    ['with a shape that is no JSON', (lines: string[]) => put(lines, 'shapes', 'key', 'x')],
    ['with a queue of no shape', (lines: string[]) => put(lines, 'queues', 'shape_id', 4711)],
    ['that refers to a file that did not come', (lines: string[]) => put(lines, 'blob_uses', 'digest', 'a'.repeat(64))],
    ['that refers to a file outside', (lines: string[]) => put(lines, 'blob_uses', 'digest', '../../etc/passwd')],
    [
      'of two submissions with one number',
      (lines: string[]) => changed(lines, 'submissions', (row) => [2, ...row.slice(1)]),
    ],
    ['of another table', (lines: string[]) => whole(lines).replace('"table":"attempts"', '"table":"tokens"')],
    ['of a newer version', (lines: string[]) => whole(lines).replace(/"schema":\d+/, '"schema":999')],
    ['with too few rows', (lines: string[]) => whole(lines.toSpliced(2, 1))],
    ['that breaks off', (lines: string[]) => whole(lines.slice(0, -1))],
    ['of nothing', () => ''],
  ] as const)('%s is refused, and nothing is left of it', async (_what, spoil) => {
    const { store, lines, bring } = await exported(open);
    const before = await rowsOf(store);
    await expect(bring(spoil([...lines]))).rejects.toMatchObject({
      code: expect.stringMatching(/bad-request|incompatible-version/),
    });
    expect(await rowsOf(store)).toEqual(before);
    expect((await bring(whole(lines))).tasks).toBe(4);
  });

  test('that is no archive is refused, and so is one that never ends well', async () => {
    const { store, imports } = await exported(open);
    const before = await rowsOf(store);
    const { id } = await imports.start(ADMIN, { project: 'new' });
    await expect(
      imports.rows(ADMIN, { id, project: 'new' }, Readable.from([Buffer.from('no gzip')])),
    ).rejects.toMatchObject({ code: 'bad-request' });
    expect(await rowsOf(store)).toEqual(before);
  });

  test('takes what travels as it is looked at when it comes', async () => {
    const { store, lines, bring } = await exported(open);
    const file = { name: 'out/a.txt', digest: DIGEST, kind: 'file', size: BYTES.length, permissions: '600' };
    const reply = await bring(put(lines, 'attempts', 'outputs', JSON.stringify([file])));
    const [submission] = reply.submissions.map(({ to }) => to) as [number];
    const task = await store.getTask({ submission, idx: 1 });
    expect(task?.attempts.map(({ outputs }) => outputs)).toEqual([JSON.stringify([file])]);
  });

  test('with a character that the database does not hold has the mark of one in its place', async () => {
    const { store, lines, bring } = await exported(open);
    const reply = await bring(put(lines, 'attempts', 'message', 'bad magic "\0PNG"'));
    const [submission] = reply.submissions.map(({ to }) => to) as [number];
    const task = await store.getTask({ submission, idx: 1 });
    const shown = name === 'PostgreSQL' ? '\uFFFD' : '\0';
    expect(task?.attempts.map(({ message }) => message)).toEqual([`bad magic "${shown}PNG"`]);
  });

  test('whose rows broke off with their server takes them no second time, and nothing is left of it', async () => {
    const { store, parts, imports, lines, bring } = await exported(open);
    const before = await rowsOf(store);
    const { id, place } = await imports.start(ADMIN, { project: 'new' });
    await putBlobs(parts, ADMIN, place, [{ digest: DIGEST, bytes: BYTES }]);
    // A server that is killed does not remove what it was writing.
    const dies = { ...store, dropImport: () => new Promise<never>(() => undefined) };
    const killed = createImports({ ...parts, store: dies }, faultOfJson);
    const upTo = lines.findIndex((line) => line.startsWith('{"table":"attempts"')) + 1;
    const part = Readable.from([gzipSync(whole(lines.slice(0, upTo)))]);
    void killed.rows(ADMIN, { id, project: 'new' }, part);
    const count = async () => (await rowsOf(store)).filter((row) => row.startsWith('tasks')).length;
    await expect.poll(count, { timeout: 30_000 }).toBe(8);
    await expect(
      imports.rows(ADMIN, { id, project: 'new' }, Readable.from([gzipSync(whole(lines))])),
    ).rejects.toMatchObject({ code: 'wrong-state' });
    expect(await rowsOf(store)).toEqual(before);
    expect((await bring(whole(lines))).tasks).toBe(4);
  });

  test('that nobody goes on with goes by itself', async () => {
    const { store, parts } = await exported(open);
    const before = await rowsOf(store);
    await store.beginImport({ id: 'abandoned', owner: 'o', quotaBytes: null, forMs: -1 });
    const imports = createImports(parts, faultOfJson);
    onTestFinished(() => imports.stop());
    await expect.poll(() => rowsOf(store), { timeout: 30_000 }).toEqual(before);
  });

  test('is for administrators, under a name that is free, within its quota', async () => {
    const { imports, lines, bring } = await exported(open);
    await expect(imports.start(principal('some', ['read', 'submit']), { project: 'new' })).rejects.toMatchObject({
      code: 'forbidden',
    });
    await expect(imports.start(ADMIN, { project: 'old' })).rejects.toMatchObject({ code: 'already-exists' });
    await expect(bring(whole(lines), 'new', 3)).rejects.toMatchObject({ code: 'over-quota' });
    await bring(whole(lines), 'new', 1000);
    await expect(bring(whole(lines), 'new')).rejects.toMatchObject({ code: 'already-exists' });
  });
});
