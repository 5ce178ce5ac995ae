import type { Digest } from '../../../ground/base/digest.ts';
import { PilotageError } from '../../../ground/base/errors.ts';
import type { Client } from '../../../ground/client/client.ts';
import { inLanes } from '../../../ground/content/in-lanes.ts';
import { parseTree } from '../../../ground/content/tree.ts';
import { formatPack, PACK_BLOBS, PACKED_BYTES } from '../../../ground/protocol/blob-pack.ts';
import { workerCalls } from '../../../ground/protocol/worker-calls.ts';
import { readBlob, takeIn } from '../../pool/files.ts';
import type { Parts } from '../../pool/parts.ts';

/** A project here and what it is called at the neighbour that its tasks came from. */
export interface BorrowedProject {
  readonly id: number;
  readonly name: string;
  readonly at: string;
}

export interface Named {
  readonly digest: string;
  readonly kind: 'file' | 'tree';
}

const LANES = 4;
const ASK = 1000;

export interface Destination {
  readonly parts: Parts;
  readonly client: Client;
  readonly project: BorrowedProject;
  /** Nobody waits for it any more. */
  readonly signal: AbortSignal;
}

/** Brings files to the neighbour: directories with all that they list. Resolves when it has them on its disk. */
export async function pushFiles(to: Destination, files: readonly Named[]): Promise<void> {
  const trees = files.filter(({ kind }) => kind === 'tree').map(({ digest }) => digest);
  const plain = new Set(files.filter(({ kind }) => kind === 'file').map(({ digest }) => digest));
  for (const digest of trees) for (const child of await childrenOf(to.parts, digest)) plain.add(child);
  await pushAll(to, [...plain]);
  // A list comes after what it lists.
  await pushAll(to, [...new Set(trees)]);
}

async function childrenOf(parts: Parts, digest: string): Promise<string[]> {
  const { bytes } = await readBlob(parts, digest);
  const chunks: Buffer[] = [];
  for await (const chunk of bytes) chunks.push(chunk as Buffer);
  const { entries } = parseTree(Buffer.concat(chunks).toString('utf8'));
  return entries.flatMap((entry) => ('digest' in entry ? [entry.digest] : []));
}

async function pushAll(to: Destination, digests: readonly string[]): Promise<void> {
  const { parts, client, project, signal } = to;
  for (let at = 0; at < digests.length; at += ASK) {
    const asked = digests.slice(at, at + ASK);
    const params = { project: project.at };
    const { missing } = await client.call(workerCalls.missingBlobs, {
      params,
      body: { digests: asked },
      signal,
    });
    const sizes = new Map(
      (await parts.store.blobSizes({ projectId: project.id, digests: missing })).map(({ digest, size }) => [
        digest,
        size,
      ]),
    );
    const isSmall = (digest: string): boolean => (sizes.get(digest) ?? Number.POSITIVE_INFINITY) <= PACKED_BYTES;
    await pushPacks(to, missing.filter(isSmall));
    await inLanes(
      missing.filter((digest) => !isSmall(digest)),
      LANES,
      (digest) => pushOne(to, digest),
    );
  }
}

async function pushPacks({ parts, client, project, signal }: Destination, digests: readonly string[]): Promise<void> {
  for (let at = 0; at < digests.length; at += PACK_BLOBS / 10) {
    const pack = await Promise.all(
      digests.slice(at, at + PACK_BLOBS / 10).map(async (digest) => {
        const chunks: Buffer[] = [];
        for await (const chunk of (await readBlob(parts, digest)).bytes) chunks.push(chunk as Buffer);
        return { digest, bytes: Buffer.concat(chunks) };
      }),
    );
    await client.call(workerCalls.putBlobs, { params: { project: project.at }, raw: formatPack(pack), signal });
  }
}

/** After a cut it goes on where the neighbour's part ends. */
async function pushOne({ parts, client, project, signal }: Destination, digest: string): Promise<void> {
  const params = { project: project.at, digest };
  const upload = `relay-${digest.slice(0, 32)}`;
  const { received } = await client.call(workerCalls.uploadState, { params: { ...params, upload }, signal });
  const { size, bytes } = await readBlob(parts, digest, received);
  const timeoutSeconds = 120 + size / 100_000;
  const query = { upload, offset: received };
  // What breaks off in the middle leaves the file open.
  const call = client.call(workerCalls.putBlob, { params, query, raw: bytes, timeoutSeconds, signal });
  await call.finally(() => bytes.destroy());
}

/** So long a worker waits for bytes that do not come; then it is told to ask again. */
const FETCH_MS = 20_000;

/** Fetches bytes from the neighbours that tasks came from: each once, whoever asks for them. */
export function createFetcher(parts: Parts, clientOf: (peer: string) => Client) {
  const running = new Map<string, Promise<boolean>>();
  const fetchAll = async (peer: string, project: BorrowedProject, digest: Digest): Promise<boolean> => {
    const upload = `fetch-${digest.slice(0, 32)}`;
    const start = await parts.blobs.received(digest, upload);
    try {
      const bytes = await clientOf(peer).stream(workerCalls.getBlob, {
        params: { project: project.at, digest },
        ...(start === 0 ? {} : { headers: { range: `bytes=${start}-` } }),
        timeoutSeconds: FETCH_MS / 1000,
      });
      await takeIn(parts, project, digest, { id: upload, offset: start, bytes });
      return true;
    } catch (error) {
      if (error instanceof PilotageError && error.code === 'not-found') return false;
      throw error;
    }
  };
  return async (peer: string, project: BorrowedProject, digest: Digest): Promise<boolean> => {
    const key = `${project.id}/${digest}`;
    const transfer = running.get(key) ?? fetchAll(peer, project, digest).finally(() => running.delete(key));
    running.set(key, transfer);
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(onItsWay(digest)), FETCH_MS);
    try {
      return await Promise.race([transfer, late.promise]);
    } catch (error) {
      if (error instanceof PilotageError && error.code !== 'bad-request') throw error;
      throw onItsWay(digest, error);
    } finally {
      clearTimeout(timer);
    }
  };
}

function onItsWay(digest: string, cause?: unknown): PilotageError {
  return new PilotageError(
    'not-ready',
    `the bytes ${digest} belong to a task of a neighbour and have not come over yet: ask again`,
    { cause, details: { retryAfterSeconds: 1 } },
  );
}
