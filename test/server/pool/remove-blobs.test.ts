import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { QUIET } from '../../../src/ground/claimant/session.ts';
import type { Principal } from '../../../src/server/access/principal.ts';
import { openBlobs } from '../../../src/server/blobs/blobs.ts';
import { getBlob, putBlob } from '../../../src/server/pool/files.ts';
import type { Parts } from '../../../src/server/pool/parts.ts';
import { startBlobRemover } from '../../../src/server/pool/remove-blobs.ts';
import { DEFAULT_SETTINGS } from '../../../src/server/pool/settings.ts';
import { type OpenedStore, openStores } from '../../support/open-stores.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

/** So long a blob without a reference stays: short, so that many go while they come again. */
const GRACE_MS = 400;
const ROUNDS = 60;
const LANES = 6;
const WHO: Principal = {
  tokenId: 1,
  name: 'tester',
  scopes: ['read', 'submit', 'work', 'admin'],
  projects: null,
} as Principal;

describe.each(openStores())('files that come and go at once on %s', (_name, open) => {
  test('are there when they were acknowledged, for the grace time at least, and in the end nothing is left', async () => {
    const { store, parts, blobs, close } = await pool(open);
    // Two, as two servers have them.
    const removers = ['one', 'two'].map((id) => startBlobRemover(parts, id));
    const contents = Array.from({ length: 4 }, (_, i) => Buffer.from(`content ${i}`));
    let checked = 0;
    const lane = async (number: number): Promise<void> => {
      for (let round = 0; round < ROUNDS; round += 1) {
        const bytes = contents[(round + number) % contents.length]!;
        const begun = performance.now();
        await upload(parts, bytes)();
        const got = await read(parts, bytes).catch((error: unknown) => error as Error);
        if (got instanceof Error) {
          if (performance.now() - begun > GRACE_MS / 2) continue;
          throw got;
        }
        expect(got).toEqual(bytes);
        checked += 1;
        // Now and then nobody asks for longer than the grace time.
        if (round % 15 === 14) await pause(GRACE_MS * 1.5);
      }
    };
    await Promise.all(Array.from({ length: LANES }, (_, number) => lane(number)));
    expect(checked).toBeGreaterThan(LANES * ROUNDS * 0.5);
    const left = async () => (await store.removableBlobs({ after: null, limit: 100, graceMs: -1e9 })).digests.length;
    await expect.poll(left, { timeout: 20_000 }).toBe(0);
    await expect
      .poll(() => store.projectUsage({ projectId: 1 }), { timeout: 20_000 })
      .toMatchObject({ blobs: 0, bytes: 0 });
    await Promise.all(removers.map((remover) => remover.stop()));
    for (const bytes of contents)
      await expect(blobs.get(digestOf(bytes) as never)).rejects.toMatchObject({
        code: 'not-found',
      });
    await close();
  }, 60_000);

  test('an upload waits for a removal of the same bytes that is under way', async () => {
    const { store, parts, blobs, close } = await pool(open);
    const bytes = Buffer.from('slowly removed');
    const put = upload(parts, bytes);
    await put();
    const gate = Promise.withResolvers<void>();
    const removing = Promise.withResolvers<void>();
    const remover = startBlobRemover(
      {
        ...parts,
        blobs: {
          ...blobs,
          remove: async (digest) => {
            removing.resolve();
            await gate.promise;
            await blobs.remove(digest);
          },
        },
      },
      'one',
    );
    await removing.promise;
    let asked = 0;
    const counting: Parts = {
      ...parts,
      store: {
        ...store,
        addBlobs: (input) => {
          asked += 1;
          return store.addBlobs(input);
        },
      },
    };
    const again = upload(counting, bytes)();
    await expect.poll(() => asked, { timeout: 30_000 }).toBeGreaterThan(2);
    gate.resolve();
    await again;
    await remover.stop();
    expect(await read(parts, bytes)).toEqual(bytes);
    await close();
  });

  test('an upload whose bytes were removed just before they were known again brings them back', async () => {
    const { store, parts, blobs, close } = await pool(open);
    const bytes = Buffer.from('removed in between');
    await upload(parts, bytes)();
    const digest = digestOf(bytes);
    const between: Parts = {
      ...parts,
      store: {
        ...store,
        addBlobs: async (input) => {
          const expired = () => store.markRemoval({ digest, server: 'one', graceMs: GRACE_MS });
          await expect.poll(expired, { timeout: 5000 }).toBe('bytes');
          await blobs.remove(digest as never);
          await store.finishRemoval({ digest, server: 'one' });
          return store.addBlobs(input);
        },
      },
    };
    await upload(between, bytes)();
    expect(await read(parts, bytes)).toEqual(bytes);
    await close();
  });
});

async function pool(open: () => Promise<OpenedStore>) {
  const { store, close } = await open();
  await store.createProject({ name: 'p', owner: 'o' });
  const blobs = await openBlobs(temporaryDirectory());
  const parts = {
    store,
    blobs,
    settings: { ...DEFAULT_SETTINGS, blobGraceMs: GRACE_MS },
    log: QUIET,
    closing: new AbortController().signal,
  } as unknown as Parts;
  return { store, parts, blobs, close };
}

function digestOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function upload(parts: Parts, bytes: Buffer) {
  const to = { project: 'p', digest: digestOf(bytes) };
  return () => putBlob(parts, WHO, to, { id: undefined, offset: 0, length: bytes.length }, Readable.from([bytes]));
}

async function read(parts: Parts, bytes: Buffer): Promise<Buffer> {
  const got = await getBlob(parts, WHO, 'p', digestOf(bytes), 0);
  const chunks: Buffer[] = [];
  for await (const chunk of got.bytes) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
