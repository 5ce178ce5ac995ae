import type { Client } from '../../ground/client/client.ts';
import type { FileStore } from '../../ground/client/file-store.ts';
import { uploadFile } from '../../ground/client/upload.ts';
import { removeDirectory } from '../../ground/content/remove-directory.ts';
import type { InputFile, OutputPattern } from '../../ground/protocol/spec.ts';
import type { FetchBlob } from './cache/fetches.ts';
import type { NodeCache } from './cache/node-cache.ts';
import { type Collected, collectOutputs } from './collect-outputs.ts';
import type { DiskWatch } from './disk-watch.ts';
import { downloadFromServer } from './fetch-blob.ts';
import { retryWhileAway } from './retry.ts';
import { stageInputs } from './stage-inputs.ts';
import { type DiskRoom, diskRoom, isDiskFull, isFullHere, storageFull } from './storage-full.ts';
import { fetchInZone, SHARED_BYTES, type Zone } from './zone/fetch-in-zone.ts';

/** Whose files, and until when it is worth trying. */
export interface StagingJob {
  readonly project: string;
  readonly sandbox: string;
  readonly signal: AbortSignal;
}

/**
 * Files between the server and a sandbox. A server that is away is waited for, for ever, until the job's signal comes:
 * a result is never dropped. Everything else that goes wrong rejects.
 */
export interface Staging {
  /** Rejects with `storage-full` when the disk here is: then the attempt is to be handed back. */
  stage(job: StagingJob, files: readonly InputFile[]): Promise<void>;
  collect(job: StagingJob, patterns: readonly OutputPattern[]): Promise<Collected>;
  /** Uploads one file of ours (a long log). */
  upload(job: StagingJob, file: string): Promise<{ digest: string; size: number }>;
  /** Inputs of a sandbox that are shared with other tasks, and that some program wrote to all the same. */
  changedInputs(sandbox: string): Promise<string[]>;
  /** The attempt of this sandbox is over: what the cache kept for it may go. */
  settled(sandbox: string): void;
  /** The `storage-full` that it is when something else on the disk of `path` failed for want of room; else undefined. */
  asStorageFull(path: string, error: unknown): Promise<Error | undefined>;
}

export interface StagingOptions {
  readonly client: Client;
  readonly cache: NodeCache;
  /** Sandboxes and cache are on this disk. */
  readonly directory: string;
  readonly disk: DiskWatch;
  /** Workers of the same zone are asked first. */
  readonly zone?: Pick<Zone, 'holdings' | 'patience'>;
  told(project: string, why: string): void;
}

/** Each try after the first had some room made for it. */
const TRIES = 3;

export function createStaging(options: StagingOptions): Staging {
  const { client, cache, disk, told, directory } = options;
  /** Large uploads go on where they broke off as long as they are waited for there. */
  const storeOf = ({ project, signal }: StagingJob): FileStore => ({
    client,
    project,
    signal,
    patience: { seconds: Number.POSITIVE_INFINITY, onOutage: (error) => told(project, error.message) },
  });
  const patiently = <T>(job: StagingJob, act: () => Promise<T>): Promise<T> =>
    retryWhileAway(act, job.signal, (why) => told(job.project, why));

  /** Before it gives up, the cache makes room; then all that this staging brought goes, so that the room is as before. */
  const stage = async (job: StagingJob, files: readonly InputFile[]): Promise<void> => {
    const { sandbox, signal } = job;
    const fetchOf = fetchFrom(options, job.project);
    const before = await diskRoom(directory);
    for (let tries = 1; ; tries += 1) {
      try {
        return await patiently(job, () => stageInputs({ cache, sandbox, files, fetchOf, signal }));
      } catch (error) {
        const now = await diskRoom(directory);
        if (!isFullHere(error, now)) throw error;
        if (tries < TRIES && (await cache.removeUnused().catch(() => 0)) > 0) continue;
        await removeDirectory(sandbox).catch(() => undefined);
        await cache.release(sandbox);
        await cache.removeUnused().catch(() => 0);
        throw filled(largerOf(before, await diskRoom(directory)), now, error);
      }
    }
  };
  const filled = (before: DiskRoom, now: DiskRoom, cause: unknown): Error => {
    const error = storageFull(before, now, cause);
    disk.filled(before, error.message);
    return error;
  };

  return {
    stage,
    collect: (job, patterns) =>
      patiently(job, () => collectOutputs({ store: storeOf(job), sandbox: job.sandbox, patterns })),
    upload: (job, file) => patiently(job, () => uploadFile(storeOf(job), file)),
    changedInputs: async (sandbox) => (await cache.changedLinks(sandbox)).map((name) => name.slice(sandbox.length + 1)),
    settled: (sandbox) => void cache.release(sandbox),
    asStorageFull: async (path, error) => {
      if (!isDiskFull(error)) return undefined;
      // What could not be made is not there to be asked about, and an attempt's directory goes: the work directory stays.
      const before = await diskRoom(directory);
      return filled(before, await diskRoom(path).catch(() => before), error);
    },
  };
}

/** From whom blobs come: small ones from the server, the others from the zone if there is one. */
function fetchFrom({ client, zone }: StagingOptions, project: string): (size?: number) => FetchBlob {
  return (size = SHARED_BYTES) => {
    if (zone && size >= SHARED_BYTES)
      return (arriving, signal) => fetchInZone(arriving, { client, project, ...zone }, signal);
    return (arriving, signal) => downloadFromServer(arriving, { client, project }, signal);
  };
}

function largerOf(one: DiskRoom, other: DiskRoom): DiskRoom {
  return one.freeBytes >= other.freeBytes ? one : other;
}
