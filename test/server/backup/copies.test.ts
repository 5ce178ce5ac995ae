import { Readable } from 'node:stream';
import { describe, expect, onTestFinished, test } from 'vitest';
import { hashBytes } from '../../../src/ground/content/hash-file.ts';
import { createCopies } from '../../../src/server/backup/copies.ts';
import { readSnapshot } from '../../../src/server/backup/read-snapshot.ts';
import { createReadings } from '../../../src/server/backup/readings.ts';
import { type CopySettings, DEFAULT_COPY_SETTINGS } from '../../../src/server/backup/settings.ts';
import { putBlobs } from '../../../src/server/pool/files.ts';
import { startBlobRemover } from '../../../src/server/pool/remove-blobs.ts';
import { openStores, step, storeClients } from '../../support/open-stores.ts';
import { poolParts, principal } from '../../support/pool-parts.ts';

const ADMIN = principal('admin', ['admin']);
const BYTES = Buffer.from('some bytes');
const DIGEST = hashBytes(BYTES).digest;

/** A file that nothing refers to, and somebody who removes such files at once. */
async function withRemover(
  open: ReturnType<typeof openStores>[number][1],
  holdMs: number,
  over: Partial<CopySettings> = {},
) {
  const { store, close } = await open();
  await store.createProject({ name: 'p', owner: 'o' });
  const parts = await poolParts(store, { blobGraceMs: 2 });
  const copies = createCopies({
    parts,
    settings: { ...DEFAULT_COPY_SETTINGS, holdMs, ...over },
    readIdentity: async () => ({}),
  });
  const remover = startBlobRemover(parts, 'me');
  onTestFinished(async () => {
    await remover.stop();
    await close();
  });
  const put = (project = 'p') => putBlobs(parts, ADMIN, project, [{ digest: DIGEST, bytes: BYTES }]);
  const isThere = () =>
    parts.blobs.get(DIGEST).then(
      ({ bytes }) => bytes.destroy() !== undefined,
      () => false,
    );
  return { store, parts, copies, put, isThere };
}

describe.each(openStores())('a copy that is under way on %s', (_name, open) => {
  test('holds the files, until it ends', async () => {
    const { store, copies, put, isThere } = await withRemover(open, 60_000);
    const { id } = await copies.startBackup(ADMIN);
    await put();
    // What the remover would take next, if it might.
    const removable = () => store.removableBlobs({ after: null, limit: 10, graceMs: -1e9 });
    expect((await removable()).digests).toEqual([]);
    expect(await store.markRemoval({ digest: DIGEST, server: 'me', graceMs: -1e9 })).toBe('kept');
    expect(await isThere()).toBe(true);
    await copies.end(ADMIN, id);
    await expect.poll(isThere, { timeout: 20_000 }).toBe(false);
  });

  test('holds nothing for ever when nobody asks for more of it, and says so to who comes too late', async () => {
    const { copies, put, isThere } = await withRemover(open, 300);
    const { id } = await copies.startBackup(ADMIN);
    await put();
    await expect.poll(isThere, { timeout: 20_000 }).toBe(false);
    await expect(copies.blob(ADMIN, id, DIGEST, 0)).rejects.toMatchObject({ code: 'gone' });
  });

  test('is held on by whoever fetches from it', async () => {
    const { copies, put, isThere } = await withRemover(open, 1000);
    const { id } = await copies.startBackup(ADMIN);
    await put();
    const until = performance.now() + 3000;
    while (performance.now() < until) {
      const { bytes } = await copies.blob(ADMIN, id, DIGEST, 0);
      await Readable.from(bytes)
        .resume()
        .toArray()
        .catch(() => []);
    }
    expect(await isThere()).toBe(true);
  });

  test('of a project holds the files of that one, and of no other', async () => {
    const { store, copies, put, isThere } = await withRemover(open, 60_000);
    const { id: other } = await store.createProject({ name: 'other', owner: 'o' });
    const { id } = await copies.startExport(ADMIN, 'p');
    await Promise.all([put('p'), put('other')]);
    const isIn = async (projectId: number) => (await store.findBlob({ projectId, digest: DIGEST })) !== null;
    await expect.poll(() => isIn(other), { timeout: 20_000 }).toBe(false);
    const { bytes } = await copies.blob(ADMIN, id, DIGEST, 0);
    expect(Buffer.concat(await bytes.toArray())).toEqual(BYTES);
    await copies.end(ADMIN, id);
    await expect.poll(isThere, { timeout: 20_000 }).toBe(false);
  });

  test('has its database read once at a time, and there are few of such readings', async () => {
    const { store, copies } = await withRemover(open, 60_000, { readings: 2 });
    // More than is on its way while nobody reads.
    const payloads = Array<string>(40).fill(JSON.stringify('x'.repeat(100_000)));
    const items = { first: 1, payloads, inputs: payloads.map(() => null), digests: [] };
    const project = (await store.listProjects()).find(({ name }) => name === 'p');
    await storeClients(store, project!.id).submit(step({ items }));
    const [{ id }, { id: other }] = [await copies.startExport(ADMIN, 'p'), await copies.startExport(ADMIN, 'p')];
    const first = await copies.database(ADMIN, id);
    const ended = new Promise<Error>((resolve) => first.once('error', resolve));
    const second = await copies.database(ADMIN, id);
    expect(await ended).toMatchObject({ code: 'interrupted' });
    await expect(copies.database(ADMIN, other)).rejects.toMatchObject({ code: 'busy' });
    expect(Buffer.concat(await second.toArray()).toString()).toMatch(/\{"end":\d+\}\n$/);
    const read = async () => (await copies.database(ADMIN, other)).toArray();
    const isGiven = () =>
      read().then(
        (pieces) => pieces.length > 0,
        (error) => error.code,
      );
    await expect.poll(isGiven, { timeout: 20_000 }).toBe(true);
  });

  test('is not held on by asking for what is not to be had', async () => {
    const { copies } = await withRemover(open, 1000);
    const eve = principal('eve', ['read', 'submit'], ['p']);
    const { id } = await copies.startExport(eve, 'p');
    const isOver = async () => {
      const asked = [copies.blob(eve, id, 'a'.repeat(64), 0), copies.identity(eve, id)];
      const codes = (await Promise.allSettled(asked)).map((one) => one.status === 'rejected' && one.reason.code);
      return codes.every((code) => code === 'gone');
    };
    await expect.poll(isOver, { timeout: 20_000 }).toBe(true);
  });

  test('of a project is over after its time, however busily it is fetched, and a backup is not', async () => {
    const { copies, put } = await withRemover(open, 1000, { longestExportMs: 1500 });
    await put();
    const [{ id }, { id: all }] = [await copies.startExport(ADMIN, 'p'), await copies.startBackup(ADMIN)];
    const fetched = async (of: string) => {
      const { bytes } = await copies.blob(ADMIN, of, DIGEST, 0);
      await bytes.toArray();
      return true;
    };
    const isOver = async () => (await fetched(all)) && fetched(id).catch((error) => error.code);
    await expect.poll(isOver, { timeout: 20_000 }).toBe('gone');
  });

  test('of a project is one of a few for each user at once', async () => {
    const { copies } = await withRemover(open, 60_000);
    const [eve, bob] = ['eve', 'bob'].map((name) => principal(name, ['read', 'submit'], ['p']));
    const begun = [await copies.startExport(eve!, 'p'), await copies.startExport(eve!, 'p')];
    await expect(copies.startExport(eve!, 'p')).rejects.toMatchObject({ code: 'busy' });
    await copies.startExport(bob!, 'p');
    await copies.end(eve!, begun[0]!.id);
    await copies.startExport(eve!, 'p');
  });

  test('is for administrators, of a project for those who may do everything in it, and for nobody else', async () => {
    const { store, copies, put } = await withRemover(open, 60_000);
    await store.createProject({ name: 'other', owner: 'o' });
    await put();
    const full = principal('full', ['read', 'submit'], ['p']);
    await expect(copies.startBackup(full)).rejects.toMatchObject({ code: 'forbidden' });
    for (const scopes of [['read'], ['work'], ['front']] as const)
      await expect(copies.startExport(principal('less', scopes, ['p']), 'p')).rejects.toMatchObject({
        code: 'forbidden',
      });
    await expect(copies.startExport(full, 'other')).rejects.toMatchObject({ code: 'not-found' });
    const { id } = await copies.startExport(full, 'p');
    const { id: other } = await copies.startExport(ADMIN, 'other');
    const { id: all } = await copies.startBackup(ADMIN);
    const { bytes } = await copies.blob(full, id, DIGEST, 0);
    bytes.destroy();
    for (const foreign of [other, all]) {
      await expect(copies.database(full, foreign)).rejects.toMatchObject({ code: 'forbidden' });
      await expect(copies.blob(full, foreign, DIGEST, 0)).rejects.toMatchObject({ code: 'forbidden' });
      await expect(copies.end(full, foreign)).rejects.toMatchObject({ code: 'forbidden' });
    }
    await expect(copies.blob(ADMIN, other, DIGEST, 0)).rejects.toMatchObject({ code: 'not-found' });
    await expect(copies.identity(full, id)).rejects.toMatchObject({ code: 'wrong-state' });
  });

  test('of a project gives nothing more to who lost access, nor to a narrower token, and may still be ended by them', async () => {
    const { store, copies, put } = await withRemover(open, 60_000);
    await put();
    const { id } = await copies.startExport(principal('eve', ['read', 'submit'], ['p', 'mine']), 'p');
    for (const [scopes, projects] of [
      [['read', 'submit'], ['mine']],
      [['read', 'submit'], []],
      [['read'], ['p', 'mine']],
    ] as const) {
      const eve = principal('eve', scopes, projects);
      await expect(copies.database(eve, id)).rejects.toMatchObject({ code: 'forbidden' });
      await expect(copies.blob(eve, id, DIGEST, 0)).rejects.toMatchObject({ code: 'forbidden' });
    }
    await copies.end(principal('eve', ['read', 'submit'], ['mine']), id);
    expect(await store.findHold({ id })).toBe(null);
  });
});

describe('readings of snapshots', () => {
  const opened = () => {
    const state = { open: 0, most: 0 };
    const open = async () => {
      await new Promise(setImmediate);
      state.open += 1;
      state.most = Math.max(state.most, state.open);
      const pieces = async function* () {
        for (;;) yield Buffer.alloc(100_000);
      };
      const close = async () => {
        await new Promise(setImmediate);
        state.open -= 1;
      };
      return { pieces, close };
    };
    return { state, open, readings: createReadings(DEFAULT_COPY_SETTINGS) };
  };
  const quiet = (stream: Readable) => stream.on('error', () => undefined);

  test('are one for each copy: who asks anew ends what was on its way', async () => {
    const { state, open, readings } = opened();
    const asked = Array.from({ length: 10 }, () => readings.read({ id: 'a', isBackup: false }, open).then(quiet));
    const streams = (await Promise.allSettled(asked)).flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    expect(state).toEqual({ open: 1, most: 1 });
    const last = streams.at(-1)!;
    expect(last.destroyed).toBe(false);
    const next = quiet(await readings.read({ id: 'a', isBackup: false }, open));
    expect(last.errored).toMatchObject({ code: 'interrupted' });
    expect(state).toEqual({ open: 1, most: 1 });
    next.destroy();
    await expect.poll(() => state.open).toBe(0);
  });

  test('are few, and exports leave one of them to a backup', async () => {
    const { state, open, readings } = opened();
    const read = async (id: string, isBackup = false) => quiet(await readings.read({ id, isBackup }, open));
    const [first] = [await read('a'), await read('b'), await read('c')];
    await expect(read('d')).rejects.toMatchObject({ code: 'busy' });
    await read('backup', true);
    await expect(read('another', true)).rejects.toMatchObject({ code: 'busy' });
    first!.destroy();
    await expect.poll(() => state.open).toBe(3);
    await read('another', true);
    expect(state.most).toBe(4);
  });

  test('that cannot be opened take nobody a place', async () => {
    const { open, readings } = opened();
    const fails = () => Promise.reject(new Error('no'));
    for (const id of ['a', 'b', 'c', 'd', 'e', 'a'])
      await expect(readings.read({ id, isBackup: false }, fails)).rejects.toThrow('no');
    quiet(await readings.read({ id: 'a', isBackup: false }, open)).destroy();
  });
});

describe('a reader of a snapshot', () => {
  const endless = () => {
    const state = { closed: 0, given: 0 };
    const snapshot = {
      async *pieces() {
        for (;;) {
          state.given += 1;
          yield Buffer.alloc(100_000);
        }
      },
      close: async () => {
        state.closed += 1;
      },
    };
    return { state, snapshot };
  };

  test('who does not read on is given up, and the snapshot is closed', async () => {
    const { state, snapshot } = endless();
    const stream = readSnapshot(snapshot, { stallMs: 50, longestMs: 60_000 });
    const failed = new Promise<Error>((resolve) => stream.once('error', resolve));
    stream.read();
    expect((await failed).message).toContain('nobody read on');
    expect(state.closed).toBe(1);
    expect(state.given).toBeLessThan(10);
  });

  test('who reads for ever is given up too', async () => {
    const { state, snapshot } = endless();
    const stream = readSnapshot(snapshot, { stallMs: 10_000, longestMs: 100 });
    await expect(stream.resume().toArray()).rejects.toThrow('took more than');
    expect(state.closed).toBe(1);
  });

  test('who goes away leaves no snapshot open', async () => {
    const { state, snapshot } = endless();
    const stream = readSnapshot(snapshot, { stallMs: 10_000, longestMs: 60_000 });
    for await (const _ of stream) break;
    await expect.poll(() => state.closed, { timeout: 30_000 }).toBe(1);
  });
});
