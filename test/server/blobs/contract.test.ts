import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Digest } from '../../../src/ground/base/digest.ts';
import { type Blobs, openBlobs, type Received } from '../../../src/server/blobs/blobs.ts';
import { missingS3, startS3, type TestS3 } from '../../support/s3.ts';
import { smallDisk } from '../../support/small-disk.ts';
import { waitUntil } from '../../support/wait-until.ts';

interface Place {
  readonly blobs: Blobs;
  /** Another server's view of the same store. */
  readonly other: Blobs;
  /** Where uploads arrive. */
  readonly spool: string;
}

const noS3 = missingS3();
let s3: TestS3 | undefined;
let root: string;
beforeAll(async () => {
  root = mkdtempSync(path.join(tmpdir(), 'pilotage-blobs-'));
  if (!noS3) s3 = await startS3();
});
afterAll(async () => {
  await s3?.stop();
  rmSync(root, { recursive: true, force: true });
});

let made = 0;
async function inDirectory(): Promise<Place> {
  made += 1;
  const directory = path.join(root, String(made));
  const [blobs, other] = [await openBlobs(directory), await openBlobs(directory)];
  return { blobs, other, spool: path.join(directory, 'incoming') };
}
async function inBucket(): Promise<Place> {
  const { bucket, options } = await (s3 as TestS3).newBucket();
  const place = `s3://${bucket}/some/prefix`;
  const elsewhere = { ...options, spoolDirectory: `${options.spoolDirectory}-other` };
  const [blobs, other] = [await openBlobs(place, options), await openBlobs(place, elsewhere)];
  return { blobs, other, spool: options.spoolDirectory as string };
}

const digestOf = (bytes: Buffer): Digest => createHash('sha256').update(bytes).digest('hex') as Digest;
const streamOf = (...pieces: Buffer[]): Readable => Readable.from(pieces, { objectMode: false });
const whole = async ({ bytes }: { bytes: Readable }): Promise<Buffer> => Buffer.concat(await bytes.toArray());
/** Brings bytes, and breaks off once they were read. */
function broken(bytes: Buffer): Readable {
  const pieces = [bytes];
  return new Readable({
    highWaterMark: 1,
    read() {
      const piece = pieces.shift();
      if (piece) this.push(piece);
      else this.destroy(Object.assign(new Error('reset'), { code: 'ECONNRESET' }));
    },
  });
}

describe.each([
  ['in a directory', inDirectory],
  ...(noS3 ? [] : [['in a bucket', inBucket] as [string, typeof inBucket]]),
])('blobs %s', (_where, open) => {
  let place: Place;
  let blobs: Blobs;
  const bytes = randomBytes(100_000);
  const digest = digestOf(bytes);
  beforeEach(async () => {
    place = await open();
    blobs = place.blobs;
  });
  const receive = (id: string, offset: number, stream: Readable): Promise<Received> =>
    blobs.receive({ digest, id, offset, bytes: stream });
  const keep = async (content: Buffer): Promise<void> => {
    const received = await blobs.receive({
      digest: digestOf(content),
      id: 'upload-k',
      offset: 0,
      bytes: streamOf(content),
    });
    await received.place();
    await received.discard();
  };

  test.each([0, 1, 100_000, 20_000_000])('%i bytes come back as they went in, also at another server', async (size) => {
    const content = randomBytes(size);
    await keep(content);
    const got = await place.other.get(digestOf(content));
    expect(got.size).toBe(size);
    expect((await whole(got)).equals(content)).toBe(true);
    expect(readdirSync(place.spool)).toEqual([]);
  });

  test('are read from an offset on, with the size of the whole', async () => {
    await keep(bytes);
    for (const start of [1, 99_999, 100_000, 200_000]) {
      const got = await blobs.get(digest, start);
      expect(got.size).toBe(100_000);
      expect((await whole(got)).equals(bytes.subarray(start))).toBe(true);
    }
  });

  test('are not to be seen before they are placed', async () => {
    const received = await receive('upload-1', 0, streamOf(bytes));
    expect(received.size).toBe(bytes.length);
    await expect(blobs.get(digest)).rejects.toMatchObject({ code: 'not-found' });
    await received.place();
    expect((await whole(await blobs.get(digest))).length).toBe(bytes.length);
  });

  test('that were removed between receiving and placing are there again, as often as it takes', async () => {
    const received = await receive('upload-1', 0, streamOf(bytes));
    await received.place();
    await place.other.remove(digest);
    await received.place();
    expect((await whole(await blobs.get(digest))).equals(bytes)).toBe(true);
    await received.place();
    await received.discard();
    await received.discard();
    expect((await whole(await blobs.get(digest))).equals(bytes)).toBe(true);
  });

  test('an upload that broke off goes on where it ended', async () => {
    await expect(receive('upload-1', 0, broken(bytes.subarray(0, 60_000)))).rejects.toMatchObject({
      code: 'bad-request',
    });
    expect(await blobs.received(digest, 'upload-1')).toBe(60_000);
    expect(await blobs.received(digest, 'upload-2')).toBe(0);
    await expect(receive('upload-1', 60_000, broken(bytes.subarray(60_000, 70_000)))).rejects.toMatchObject({
      code: 'bad-request',
    });
    const received = await receive('upload-1', 70_000, streamOf(bytes.subarray(70_000)));
    await received.place();
    expect((await whole(await blobs.get(digest))).equals(bytes)).toBe(true);
  });

  test('an upload may overlap with what is here, and begin again', async () => {
    await expect(receive('upload-1', 0, broken(bytes.subarray(0, 60_000)))).rejects.toThrow();
    await expect(receive('upload-1', 10_000, broken(bytes.subarray(10_000, 30_000)))).rejects.toThrow();
    expect(await blobs.received(digest, 'upload-1')).toBe(60_000);
    const received = await receive('upload-1', 0, streamOf(bytes));
    expect(received.size).toBe(bytes.length);
  });

  test('an upload whose last answer was lost is received again without a byte', async () => {
    await receive('upload-1', 0, streamOf(bytes));
    expect(await blobs.received(digest, 'upload-1')).toBe(bytes.length);
    expect((await receive('upload-1', bytes.length, streamOf())).size).toBe(bytes.length);
  });

  test('an offset beyond what is here is refused, and leaves nothing', async () => {
    await expect(receive('upload-1', 1, streamOf(bytes.subarray(1)))).rejects.toMatchObject({ code: 'wrong-state' });
    await expect(receive('upload-2', 0, broken(bytes.subarray(0, 500)))).rejects.toThrow();
    await expect(receive('upload-2', 501, streamOf(bytes.subarray(501)))).rejects.toMatchObject({
      code: 'wrong-state',
    });
    expect(await blobs.received(digest, 'upload-2')).toBe(500);
    expect(readdirSync(place.spool).length).toBe(1);
  });

  test.each([
    ['other bytes', streamOf(randomBytes(100_000))],
    ['too few bytes', streamOf(bytes.subarray(0, 99_999))],
    ['too many bytes', streamOf(bytes, Buffer.alloc(1))],
  ])('%s are refused, and nothing of them is kept', async (_what, stream) => {
    await expect(receive('upload-1', 0, stream)).rejects.toMatchObject({ code: 'digest-mismatch' });
    expect(await blobs.received(digest, 'upload-1')).toBe(0);
    await expect(blobs.get(digest)).rejects.toMatchObject({ code: 'not-found' });
    expect(readdirSync(place.spool)).toEqual([]);
  });

  test('what came over two connections is verified as a whole', async () => {
    await expect(receive('upload-1', 0, broken(randomBytes(60_000)))).rejects.toMatchObject({ code: 'bad-request' });
    await expect(receive('upload-1', 60_000, streamOf(bytes.subarray(60_000)))).rejects.toMatchObject({
      code: 'digest-mismatch',
    });
    expect(await blobs.received(digest, 'upload-1')).toBe(0);
  });

  test('a connection that is dead without anybody knowing it is ended by its successor', async () => {
    const dead = new PassThrough();
    dead.write(bytes.subarray(0, 40_000));
    const before = receive('upload-1', 0, dead);
    before.catch(() => {});
    await waitUntil('the first bytes to arrive', async () => dead.readableLength === 0);
    const received = await receive('upload-1', 0, streamOf(bytes));
    await expect(before).rejects.toMatchObject({ code: 'bad-request' });
    await received.place();
    expect((await whole(await blobs.get(digest))).equals(bytes)).toBe(true);
  });

  test('many bring and place the same bytes at once, while others remove them', async () => {
    const many = await Promise.all(
      Array.from({ length: 8 }, (_, at) =>
        (at % 2 === 0 ? blobs : place.other).receive({
          digest,
          id: `upload-${at}`,
          offset: 0,
          bytes: streamOf(bytes.subarray(0, at * 1000), bytes.subarray(at * 1000)),
        }),
      ),
    );
    await Promise.all([
      ...many.map((received) => received.place()),
      ...Array.from({ length: 20 }, () => blobs.remove(digest)),
    ]);
    await many[0]?.place();
    await Promise.all(many.map((received) => received.discard()));
    expect((await whole(await place.other.get(digest))).equals(bytes)).toBe(true);
  });

  test('many small ones come at once: all or none, visible when they are placed, and there again after a removal', async () => {
    const pack = Array.from({ length: 300 }, (_, i) => Buffer.from(`small ${i}`)).map((content) => ({
      digest: digestOf(content),
      bytes: content,
    }));
    const wrong = [...pack, { digest: digestOf(Buffer.from('other')), bytes: Buffer.from('this') }];
    await expect(blobs.receiveWhole(wrong)).rejects.toMatchObject({ code: 'digest-mismatch' });
    const received = await blobs.receiveWhole(pack);
    expect(received.size).toBe(pack.reduce((sum, one) => sum + one.bytes.length, 0));
    const [first] = pack as [(typeof pack)[0]];
    await expect(blobs.get(first.digest)).rejects.toMatchObject({ code: 'not-found' });
    await received.place();
    for (const one of pack) expect(await whole(await place.other.get(one.digest))).toEqual(one.bytes);
    await blobs.remove(first.digest);
    await received.place();
    expect(await whole(await blobs.get(first.digest))).toEqual(first.bytes);
    await received.discard();
    expect(readdirSync(place.spool)).toEqual([]);
  });

  test('removing what is not there is no error', async () => {
    await keep(bytes);
    await blobs.remove(digest);
    await blobs.remove(digest);
    await expect(blobs.get(digest)).rejects.toMatchObject({ code: 'not-found' });
  });

  test('what broken uploads left is swept when nobody touched it for long', async () => {
    await expect(receive('upload-1', 0, broken(bytes.subarray(0, 60_000)))).rejects.toThrow();
    expect(await blobs.sweep(60_000)).toBe(0);
    expect(await blobs.received(digest, 'upload-1')).toBe(60_000);
    const going = new PassThrough();
    const under = receive('upload-2', 0, going);
    going.write(bytes.subarray(0, 10));
    await waitUntil('the second upload to begin', () => readdirSync(place.spool).length === 2);
    expect(await blobs.sweep(0)).toBe(1);
    expect(await blobs.received(digest, 'upload-1')).toBe(0);
    going.end(bytes.subarray(10));
    expect((await under).size).toBe(bytes.length);
  });
});

describe('a directory of blobs', () => {
  const bytes = randomBytes(100_000);
  const digest = digestOf(bytes);

  test('on a full disk says so, keeps nothing, and takes bytes again when there is room', async ({ skip }) => {
    const disk = smallDisk('1m', skip);
    const blobs = await openBlobs(disk);
    const large = randomBytes(3_000_000);
    const coming = new PassThrough();
    for (let at = 0; at < large.length; at += 50_000) coming.write(large.subarray(at, at + 50_000));
    const upload = { digest: digestOf(large), id: 'upload-1', offset: 0, bytes: coming };
    await expect(blobs.receive(upload)).rejects.toMatchObject({ code: 'storage-full' });
    // The connection lives: its client is to hear why.
    expect(coming.destroyed).toBe(false);
    expect(readdirSync(path.join(disk, 'incoming'))).toEqual([]);
    const received = await blobs.receive({ digest, id: 'upload-2', offset: 0, bytes: streamOf(bytes) });
    await received.place();
    expect((await whole(await blobs.get(digest))).length).toBe(bytes.length);
  });

  test.each([
    ['the wrong size', Buffer.from('cut off')],
    ['other bytes', randomBytes(100_000)],
  ])('repairs a blob of %s when it is brought again', async (_what, damaged) => {
    const { blobs, spool } = await inDirectory();
    const received = await blobs.receive({ digest, id: 'upload-1', offset: 0, bytes: streamOf(bytes) });
    await received.place();
    const file = path.join(spool, '..', digest.slice(0, 2), digest.slice(2));
    writeFileSync(file, damaged);
    // The part is the same file: it is damaged too.
    await received.discard();
    const again = await blobs.receive({ digest, id: 'upload-2', offset: 0, bytes: streamOf(bytes) });
    await again.place();
    expect(readFileSync(file).equals(bytes)).toBe(true);
  });

  test('that is read while it is removed is read to its end', async () => {
    const { blobs } = await inDirectory();
    const received = await blobs.receive({ digest, id: 'upload-1', offset: 0, bytes: streamOf(bytes) });
    await received.place();
    await received.discard();
    const got = await blobs.get(digest);
    await blobs.remove(digest);
    expect((await whole(got)).equals(bytes)).toBe(true);
  });
});

describe('a store in a bucket', () => {
  test('that is not there is named when it is opened', async ({ skip }) => {
    if (noS3) skip(noS3);
    const { options } = await (s3 as TestS3).newBucket();
    await expect(openBlobs('s3://no-such-bucket', options)).rejects.toMatchObject({
      code: 'storage-failed',
      message: expect.stringContaining('s3://no-such-bucket'),
    });
    await expect(openBlobs('s3:///x', options)).rejects.toThrow(/names no bucket/);
  });

  test('with a wrong secret is refused', async ({ skip }) => {
    if (noS3) skip(noS3);
    const { bucket, options } = await (s3 as TestS3).newBucket();
    await expect(openBlobs(`s3://${bucket}`, { ...options, secretAccessKey: 'wrong' })).rejects.toMatchObject({
      code: 'storage-failed',
    });
  });
});
