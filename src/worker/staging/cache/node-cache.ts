/** One cache for all workers of a node: blobs that were downloaded once, checked before each use. */
import { statSync } from 'node:fs';
import { chmod, readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { messageOf, PilotageError, systemCode } from '../../../ground/base/errors.ts';
import type { Log } from '../../../ground/base/log.ts';
import { formatSize } from '../../../ground/base/size.ts';
import { hashFile } from '../../../ground/content/hash-file.ts';
import type { Arriving } from './arriving.ts';
import { isDigestName, makeCacheFiles, removeFile, sizeOf } from './cache-files.ts';
import { createCacheIndex } from './cache-index.ts';
import { adopt } from './compare-with-files.ts';
import { dropPartials, type Evicted, evictTo } from './evict.ts';
import { type CacheStep, createFetches, type FetchBlob } from './fetches.ts';
import { register } from './owners.ts';
import { createPlacer, looksOf, placeCopy, type Wanted } from './place-file.ts';

export interface CacheChange {
  readonly added?: { readonly digest: string; readonly size: number };
  readonly removed: readonly string[];
}

export interface NodeCache {
  /** Keeps these from being evicted until `release(use)`, also those that are still to come; says which are not here. */
  hold(use: string, digests: readonly string[]): Promise<readonly string[]>;
  /** Never rejects. */
  release(use: string): Promise<void>;
  /** Resolves when the blob is here; many who want it at once, in all processes of the node, share one download. */
  ensure(digest: string, fetch: FetchBlob, signal: AbortSignal): Promise<void>;
  /** Puts it at `destination`, whole and right or not at all; fetches it when it is not here, or damaged. */
  place(wanted: Wanted, destination: string, how: { fetch: FetchBlob; signal: AbortSignal }): Promise<void>;
  /** Which of the links that were placed below a directory lead to files that somebody wrote to since; nothing else is looked at. */
  changedLinks(below: string): Promise<string[]>;
  /** A blob that is here, right by its digest. */
  find(digest: string): Promise<{ file: string; size: number } | undefined>;
  /** A blob that this process is downloading. */
  arriving(digest: string): Arriving | undefined;
  /** Removes all that is not in use; how many bytes that freed. */
  removeUnused(): Promise<number>;
  /** Those of at least so many bytes, the newest first. Does not open the index. */
  newest(leastBytes: number, count: number): Promise<string[]>;
  /** Told what came here, and what went. */
  onChange(listener: (change: CacheChange) => void): void;
  close(): void;
}

export interface NodeCacheOptions {
  readonly directory: string;
  /** What is not in use goes beyond this, longest unused first. */
  readonly maxBytes: number;
  readonly log: Log;
  /** Files below this are copied and verified at each use. 16 MiB. */
  readonly copiesBelow?: number;
  /** May sandboxes have hard links into the cache? Not for root. */
  readonly mayLink?: boolean;
  /** Told before each step, for tests that end the process there. */
  readonly step?: (step: CacheStep) => void;
}

const COPIES_BELOW = 16 * 1024 * 1024;
/** A blob that is damaged so often just after it came is no accident. */
const TRIES = 4;

/** Opens or makes the cache in a directory. What processes tell each other is read when the first blob is wanted. */
export function openNodeCache(options: NodeCacheOptions): NodeCache {
  const { log, maxBytes, copiesBelow = COPIES_BELOW, step = () => undefined } = options;
  const files = makeCacheFiles(options.directory);
  const index = createCacheIndex(files);
  const placer = createPlacer(options.mayLink ?? process.getuid?.() !== 0);
  /** How files looked when this process last verified them. */
  const verified = new Map<string, string>();
  const uses = new Set<string>();
  /** Names in sandboxes that are the cache's own files, and how these looked. */
  const links = new Map<string, { readonly digest: string; readonly looks: string }>();
  let changed: Parameters<NodeCache['onChange']>[0] = () => undefined;
  let toldOver = false;
  let limitTold = false;
  let closed = false;

  const arrived = (digest: string | undefined, evicted: Evicted): void => {
    const at = digest === undefined ? undefined : statSync(files.blob(digest), { throwIfNoEntry: false });
    if (digest !== undefined && at) verified.set(digest, looksOf(at));
    tellEvicted(evicted);
    changed({ removed: evicted.digests, ...(digest !== undefined && at ? { added: { digest, size: at.size } } : {}) });
  };
  const tellEvicted = ({ digests, over }: Evicted): void => {
    for (const digest of digests) verified.delete(digest);
    if (over > 0 && !toldOver)
      log.warn(
        { directory: files.directory, limit: maxBytes, over },
        `the cache is ${formatSize(over)} over its limit of ${formatSize(maxBytes)}: running attempts need all that is in it`,
      );
    toldOver = over > 0;
  };
  const fetches = createFetches({ files, index, maxBytes, arrived, step });

  /** Is the file what its name says? Large files are read once, and again whenever they look different. */
  const isRight = async (digest: string, file: string, looks: string): Promise<boolean> => {
    if (verified.get(digest) === looks) return true;
    if ((await hashFile(file)).digest !== digest) return false;
    verified.set(digest, looks);
    return true;
  };
  const tryPlace = async (wanted: Wanted, destination: string): Promise<'placed' | 'missing' | { damaged: string }> => {
    const file = files.blob(wanted.digest);
    try {
      const stats = await stat(file);
      const damaged = { damaged: looksOf(stats) };
      if (stats.size < copiesBelow) return (await placeCopy(file, wanted, destination)) ? 'placed' : damaged;
      if (!(await isRight(wanted.digest, file, damaged.damaged))) return damaged;
      const how = await placer.placeLarge(file, wanted, destination);
      if (how === 'linked') links.set(destination, { digest: wanted.digest, looks: damaged.damaged });
      return 'placed';
    } catch (error) {
      // Between the look and the use it may have been evicted.
      if (systemCode(error) === 'ENOENT' && sizeOf(file) === undefined) return 'missing';
      throw error;
    }
  };
  /** Removes a damaged file, unless another process has put a right one there meanwhile. */
  const drop = async (digest: string, looks: string): Promise<void> => {
    const file = files.blob(digest);
    log.warn({ digest, file }, 'a file in the cache was damaged: it is fetched anew');
    verified.delete(digest);
    await index.change(({ at }) => {
      const now = statSync(file, { throwIfNoEntry: false });
      if (!now || looksOf(now) !== looks) return;
      removeFile(file);
      at.run('dropEntry', digest);
    });
    changed({ removed: [digest] });
  };

  return {
    hold: (use, digests) => {
      uses.add(use);
      return index.change(({ at, now }) => {
        const me = register(at);
        if (!limitTold) at.run('setFact', 'limit', maxBytes);
        limitTold = true;
        return digests.filter((digest) => {
          at.run('pin', use, me, digest);
          if (!at.find('entry', digest) && adopt(at, files, digest) === undefined) return true;
          at.run('use', now(), digest);
          return false;
        });
      });
    },
    release: async (use) => {
      for (const name of links.keys()) if (name.startsWith(`${use}/`)) links.delete(name);
      if (!uses.delete(use)) return;
      try {
        const evicted = await index.change(({ at }) => {
          at.run('unpin', use, register(at));
          return evictTo(at, files, maxBytes);
        });
        arrived(undefined, evicted);
      } catch (error) {
        if (!closed) log.warn({ error: messageOf(error) }, 'what the cache keeps for an attempt was not let go');
      }
    },
    ensure: fetches.ensure,
    place: async (wanted, destination, { fetch, signal }) => {
      for (let tries = 1; ; tries += 1) {
        step('placing');
        const how = await tryPlace(wanted, destination);
        if (how === 'placed') break;
        if (how !== 'missing') await drop(wanted.digest, how.damaged);
        if (tries > TRIES) throw keepsFailing(files.directory);
        await fetches.ensure(wanted.digest, fetch, signal);
      }
      step('placed');
    },
    changedLinks: async (below) => {
      const found: string[] = [];
      for (const [name, { digest, looks }] of links) {
        if (!name.startsWith(`${below}/`)) continue;
        const file = files.blob(digest);
        const now = await stat(file).catch(() => undefined);
        if (now && looksOf(now) === looks && (now.mode & 0o222) !== 0) await chmod(file, 0o444);
        if (now && looksOf(now) !== looks) found.push(name);
      }
      return found;
    },
    find: async (digest) => {
      const file = files.blob(digest);
      try {
        const stats = await stat(file);
        if (await isRight(digest, file, looksOf(stats))) return { file, size: stats.size };
        await drop(digest, looksOf(stats));
      } catch (error) {
        if (systemCode(error) !== 'ENOENT') throw error;
      }
      return undefined;
    },
    arriving: fetches.arriving,
    removeUnused: async () => {
      const { evicted, partial } = await index.change(({ at }) => ({
        partial: dropPartials(at, files),
        evicted: evictTo(at, files, 0),
      }));
      for (const digest of evicted.digests) verified.delete(digest);
      changed({ removed: evicted.digests });
      return evicted.bytes + partial;
    },
    newest: (leastBytes, count) => newestIn(files.blobs, leastBytes, count),
    onChange: (listener) => {
      changed = listener;
    },
    close: () => {
      closed = true;
      index.close();
    },
  };
}

async function newestIn(directory: string, leastBytes: number, count: number): Promise<string[]> {
  const found: { name: string; mtimeMs: number }[] = [];
  for (const name of await readdir(directory)) {
    if (!isDigestName(name)) continue;
    const stats = await stat(path.join(directory, name)).catch(() => undefined);
    if (stats && stats.size >= leastBytes) found.push({ name, mtimeMs: stats.mtimeMs });
  }
  found.sort((a, b) => b.mtimeMs - a.mtimeMs);
  return found.slice(0, count).map(({ name }) => name);
}

function keepsFailing(directory: string): PilotageError {
  return new PilotageError(
    'storage-failed',
    `files in the cache ${directory} are damaged or gone as soon as they come: is its disk in order, and does another program clean it up?`,
  );
}
