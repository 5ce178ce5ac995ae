/**
 * Downloads of blobs into a node's cache: one at a time for each blob, however many attempts of however many processes
 * ask for it. The others wait, and one of them goes on where it was when the one that downloads dies.
 */
import { randomUUID } from 'node:crypto';
import { chmodSync, renameSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { PilotageError } from '../../../ground/base/errors.ts';
import { pause } from '../retry.ts';
import { isDiskFull } from '../storage-full.ts';
import { type Arriving, type OwnArriving, openArriving } from './arriving.ts';
import { type CacheFiles, sizeOf } from './cache-files.ts';
import type { CacheIndex, IndexChange } from './cache-index.ts';
import { adopt } from './compare-with-files.ts';
import { type Evicted, evictTo } from './evict.ts';
import { register } from './owners.ts';

/** Brings the bytes of a blob, from wherever they are, until it is right; rejects when that cannot be. */
export type FetchBlob = (arriving: OwnArriving, signal: AbortSignal) => Promise<void>;

/** What happens to a blob, in order: tests end a process at each of these. */
export type CacheStep = 'begun' | 'received' | 'verified' | 'renamed' | 'placing' | 'placed';

export interface Fetches {
  /** Resolves when the blob is there. */
  ensure(digest: string, fetch: FetchBlob, signal: AbortSignal): Promise<void>;
  arriving(digest: string): Arriving | undefined;
}

export interface FetchesOptions {
  readonly files: CacheFiles;
  readonly index: CacheIndex;
  readonly maxBytes: number;
  /** A blob came here, and others may have had to go. */
  readonly arrived: (digest: string | undefined, evicted: Evicted) => void;
  readonly step: (step: CacheStep) => void;
}

interface Shared {
  readonly done: Promise<void>;
  readonly abort: AbortController;
  waiting: number;
}

type Claimed = { readonly is: 'there' } | { readonly is: 'theirs' } | { readonly is: 'mine'; readonly resume: boolean };

const BEAT_MS = 5000;
/** One that downloads and was not heard of for so long is stopped, or cannot be seen from here: it is not waited for. */
const SILENT_MS = 60_000;
const FIRST_LOOK_MS = 20;
const LAST_LOOK_MS = 250;
/** Smaller ones are not worth a look at the room before they come. */
const WORTH_ROOM = 1024 * 1024;

export function createFetches(options: FetchesOptions): Fetches {
  const { files, index, step } = options;
  const shared = new Map<string, Shared>();
  const coming = new Map<string, OwnArriving>();

  const begin = (digest: string, fetch: FetchBlob): Shared => {
    const abort = new AbortController();
    const done = bring(digest, fetch, abort.signal).finally(() => shared.delete(digest));
    done.catch(() => undefined);
    const begun = { done, abort, waiting: 0 };
    shared.set(digest, begun);
    return begun;
  };

  const bring = async (digest: string, fetch: FetchBlob, signal: AbortSignal): Promise<void> => {
    const token = randomUUID();
    for (let wait = FIRST_LOOK_MS; ; wait = Math.min(wait * 1.5, LAST_LOOK_MS)) {
      signal.throwIfAborted();
      const claimed = await index.change((change) => claim(change, files, { digest, token }));
      if (claimed.is === 'there') return;
      if (claimed.is === 'mine') {
        if (await carryOut(digest, token, { resume: claimed.resume, fetch, signal })) return;
      } else await pause(wait, signal);
    }
  };

  const carryOut = async (
    digest: string,
    token: string,
    how: { resume: boolean; fetch: FetchBlob; signal: AbortSignal },
  ): Promise<boolean> => {
    step('begun');
    const beat = setInterval(() => stillThere(digest, token), BEAT_MS);
    try {
      const arriving = await openArriving({
        digest,
        file: files.partial(digest),
        resume: how.resume,
        expected: (size) => makeRoom(digest, token, size),
      });
      coming.set(digest, arriving);
      return await receive(arriving, token, how);
    } catch (error) {
      await index.change(({ at }) => at.run('endFetch', digest, token)).catch(() => undefined);
      throw error;
    } finally {
      clearInterval(beat);
      coming.delete(digest);
    }
  };

  const receive = async (
    arriving: OwnArriving,
    token: string,
    { resume, fetch, signal }: { resume: boolean; fetch: FetchBlob; signal: AbortSignal },
  ): Promise<boolean> => {
    try {
      await fetch(arriving, signal);
      if (resume && !arriving.isRight()) {
        // What an earlier process left may have suffered: a machine that lost power leaves zeros.
        await arriving.restart();
        await fetch(arriving, signal);
      }
      step('received');
      if (!arriving.isRight()) throw wrongDigest(arriving);
      await arriving.end('verified');
      step('verified');
    } catch (error) {
      await arriving.end('failed');
      if (isDiskFull(error) || isMismatch(error)) await rm(arriving.file, { force: true });
      throw error;
    }
    const { digest } = arriving;
    const kept = await index.change((change) => keep(change, options, { digest, token }));
    if (!kept) return false;
    step('renamed');
    options.arrived(digest, kept);
    return true;
  };

  const stillThere = (digest: string, token: string): void =>
    void index.change(({ at }) => at.run('stillFetching', monotonicMs(), digest, token)).catch(() => undefined);

  const makeRoom = (digest: string, token: string, size: number): void => {
    if (size < WORTH_ROOM) return;
    void index
      .change(({ at }) => {
        at.run('expect', size, digest, token);
        return evictTo(at, files, options.maxBytes);
      })
      .then((evicted) => options.arrived(undefined, evicted))
      .catch(() => undefined);
  };

  return {
    ensure: async (digest, fetch, signal) => {
      for (;;) {
        signal.throwIfAborted();
        const known = shared.get(digest);
        const ours = known ?? begin(digest, fetch);
        ours.waiting += 1;
        try {
          return await orAborted(ours.done, signal);
        } catch (error) {
          // Another attempt's try failed, perhaps for a reason of its own (its project lacks the blob): now ours.
          if (!known || signal.aborted) throw error;
        } finally {
          ours.waiting -= 1;
          if (ours.waiting === 0) ours.abort.abort();
        }
      }
    },
    arriving: (digest) => coming.get(digest),
  };
}

function claim({ at }: IndexChange, files: CacheFiles, wanted: { digest: string; token: string }): Claimed {
  const { digest, token } = wanted;
  if (sizeOf(files.blob(digest)) !== undefined) {
    if (!at.find('entry', digest)) adopt(at, files, digest);
    return { is: 'there' };
  }
  at.run('dropEntry', digest);
  const other = at.find<{ token: string; seenAt: number }>('fetching', digest);
  if (other && other.token !== token && monotonicMs() - other.seenAt < SILENT_MS) return { is: 'theirs' };
  at.run('claim', digest, register(at), token, monotonicMs());
  // Who is silent, but not known to be dead, may still write to the file that it has open.
  const isOurs = other === undefined || other.token === token;
  return { is: 'mine', resume: isOurs && sizeOf(files.partial(digest)) !== undefined };
}

/** Gives a verified file its name. Undefined when it is no longer ours to do. May be carried out again. */
function keep(
  { at, now }: IndexChange,
  { files, maxBytes }: FetchesOptions,
  { digest, token }: { digest: string; token: string },
): Evicted | undefined {
  if (at.find<{ token: string }>('fetching', digest)?.token !== token) return undefined;
  const file = files.partial(digest);
  if (sizeOf(file) !== undefined) {
    chmodSync(file, 0o444);
    renameSync(file, files.blob(digest));
  }
  if (adopt(at, files, digest) === undefined) return undefined;
  at.run('use', now(), digest);
  at.run('pin', 'newest', 0, digest);
  at.run('endFetch', digest, token);
  const evicted = evictTo(at, files, maxBytes);
  at.run('unpin', 'newest', 0);
  return evicted;
}

function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: either, resolve, reject } = Promise.withResolvers<T>();
  const stop = (): void => reject(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  return either;
}

/** The same for all processes since the machine started. */
function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}

export function wrongDigest(arriving: Arriving): PilotageError {
  return new PilotageError(
    'digest-mismatch',
    `the server sent ${arriving.received} bytes that do not have the digest ${arriving.digest}: its store may be damaged`,
  );
}

function isMismatch(error: unknown): boolean {
  return error instanceof PilotageError && error.code === 'digest-mismatch';
}
