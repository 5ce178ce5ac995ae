/** Blobs in a bucket of any store that speaks S3. What arrives is verified on a local disk first, then put as a whole. */
import { createReadStream } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import type { Digest } from '../../ground/base/digest.ts';
import { messageOf, PilotageError } from '../../ground/base/errors.ts';
import { notHere } from './blob-errors.ts';
import type { Blobs } from './blob-store.ts';
import { openIncoming } from './incoming.ts';
import { receiveInMemory } from './whole-blobs.ts';

/** What is undefined is taken from where S3's own clients look (variables, `~/.aws`, the machine's role). */
export interface S3Options {
  readonly endpoint?: string;
  readonly region?: string;
  /** `endpoint/bucket` in place of `bucket.endpoint`. */
  readonly forcePathStyle?: boolean;
  readonly accessKeyId?: string;
  readonly secretAccessKey?: string;
  /** Where uploads are taken in. */
  readonly spoolDirectory?: string;
}

/** From here on an object travels in parts, a few at a time. A store takes at most 10,000 of them. */
const PART_BYTES = 8 * 1024 * 1024;
const MAX_PARTS = 10_000;
const PARTS_AT_ONCE = 2;

interface Bucket {
  readonly client: S3Client;
  readonly Bucket: string;
  readonly place: string;
}

export async function openS3Blobs(place: string, options: S3Options): Promise<Blobs> {
  const { name, prefix } = parsePlace(place);
  if (options.spoolDirectory === undefined)
    throw new PilotageError('bad-request', `'${place}' needs a directory on this machine where uploads are taken in`);
  const incoming = await openIncoming(options.spoolDirectory);
  const bucket: Bucket = { client: new S3Client(toConfig(options)), Bucket: name, place };
  const keyOf = (digest: Digest) => `${prefix}${digest.slice(0, 2)}/${digest.slice(2)}`;
  await asked(bucket, () => bucket.client.send(new HeadBucketCommand({ Bucket: name })));
  return {
    async receive(upload) {
      const { path, size } = await incoming.receive(upload);
      const put = () => putFile(bucket, keyOf(upload.digest), { path, size });
      return { size, place: () => asked(bucket, put), discard: () => rm(path, { force: true }) };
    },
    receiveWhole: async (blobs) =>
      receiveInMemory(blobs, (blob) => asked(bucket, () => putWhole(bucket, keyOf(blob.digest), blob.bytes)), nothing),
    received: incoming.received,
    async get(digest, start = 0) {
      const found = await asked(bucket, () => getFrom(bucket, keyOf(digest), start));
      if (!found) throw notHere(digest);
      return found;
    },
    async remove(digest) {
      const command = new DeleteObjectCommand({ Bucket: name, Key: keyOf(digest) });
      await asked(bucket, () => bucket.client.send(command));
    },
    sweep: incoming.sweep,
  };
}

function parsePlace(place: string): { name: string; prefix: string } {
  const [, name, path = ''] = /^s3:\/\/([^/]+)(?:\/(.*))?$/.exec(place) ?? [];
  if (name === undefined)
    throw new PilotageError('bad-request', `'${place}' names no bucket: write s3://BUCKET/PREFIX`);
  const plain = path.replace(/\/+$/, '');
  return { name, prefix: plain === '' ? '' : `${plain}/` };
}

function toConfig({ endpoint, region, forcePathStyle, accessKeyId, secretAccessKey }: S3Options): S3ClientConfig {
  return {
    maxAttempts: 5,
    // Newer checksums are unknown to many stores; the digest is verified at both ends anyway.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    region: region ?? 'us-east-1',
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(forcePathStyle === undefined ? {} : { forcePathStyle }),
    ...(accessKeyId === undefined || secretAccessKey === undefined
      ? {}
      : { credentials: { accessKeyId, secretAccessKey } }),
  };
}

async function nothing(): Promise<void> {}

async function putWhole(bucket: Bucket, Key: string, bytes: Buffer): Promise<void> {
  const { client, Bucket } = bucket;
  if ((await sizeOf(bucket, Key)) === bytes.length) return;
  await client.send(new PutObjectCommand({ Bucket, Key, Body: bytes, ContentLength: bytes.length }));
}

async function putFile(bucket: Bucket, Key: string, { path, size }: { path: string; size: number }): Promise<void> {
  const { client, Bucket } = bucket;
  if ((await sizeOf(bucket, Key)) === size) return;
  if (size <= PART_BYTES) {
    await client.send(new PutObjectCommand({ Bucket, Key, Body: await readFile(path), ContentLength: size }));
    return;
  }
  const { Upload } = await import('@aws-sdk/lib-storage');
  const upload = new Upload({
    client,
    params: { Bucket, Key, Body: createReadStream(path, { highWaterMark: 512 * 1024 }) },
    partSize: Math.max(PART_BYTES, Math.ceil(size / MAX_PARTS)),
    queueSize: PARTS_AT_ONCE,
  });
  await upload.done();
}

async function getFrom(
  bucket: Bucket,
  Key: string,
  start: number,
): Promise<{ size: number; bytes: Readable } | undefined> {
  const size = await sizeOf(bucket, Key);
  if (size === undefined || start >= size) return size === undefined ? undefined : { size, bytes: Readable.from([]) };
  const range = start === 0 ? {} : { Range: `bytes=${start}-` };
  try {
    const { Body } = await bucket.client.send(new GetObjectCommand({ Bucket: bucket.Bucket, Key, ...range }));
    return { size, bytes: Body as Readable };
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function sizeOf({ client, Bucket }: Bucket, Key: string): Promise<number | undefined> {
  try {
    const { ContentLength } = await client.send(new HeadObjectCommand({ Bucket, Key }));
    return ContentLength;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof S3ServiceException && (error.$metadata.httpStatusCode === 404 || error.name === 'NoSuchKey');
}

async function asked<T>({ place }: Bucket, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof PilotageError) throw error;
    const what = error instanceof S3ServiceException ? `${error.name}: ` : '';
    throw new PilotageError('storage-failed', `the store ${place} did not do as asked (${what}${messageOf(error)})`, {
      cause: error,
    });
  }
}
