import { hostname } from 'node:os';
import { type Claimant, startClaimant } from '../../ground/claimant/exchange-loop.ts';
import type { Log } from '../../ground/claimant/executor.ts';
import { SESSION_HEADER, type Session } from '../../ground/claimant/session.ts';
import { openSpool } from '../../ground/claimant/spool.ts';
import type { Client } from '../../ground/client/client.ts';
import type { RegisterRequest } from '../../ground/protocol/exchange.ts';
import { PROTOCOL_VERSION } from '../../ground/protocol/limits.ts';
import { endMarked } from '../runner/end-marked.ts';
import { baseEnvironment, type ServerAddress } from '../runner/environment.ts';
import { startRunner } from '../runner/runner.ts';
import { type NodeCache, openNodeCache } from '../staging/cache/node-cache.ts';
import { createCheckpoints } from '../staging/checkpoints.ts';
import { createDiskWatch } from '../staging/disk-watch.ts';
import { createStaging } from '../staging/staging.ts';
import type { ZoneSession } from '../staging/zone/tickets.ts';
import { shareInZone, type ZoneOptions, type ZoneSharing } from '../staging/zone/zone-sharing.ts';
import { createLocalExecutor } from './local-executor.ts';
import { detectResources, type ResourceOptions } from './resources.ts';
import { type FileSystemOf, takeWorkDirectory } from './work-directory.ts';

export interface WorkerOptions extends ResourceOptions {
  readonly client: Client;
  readonly server: ServerAddress;
  readonly log: Log;
  readonly version: string;
  /** The directory that all workers of this user on this machine share; each takes a numbered one in it. */
  readonly workDirectory: string;
  /** The worker's own environment: a few variables of it (PATH, HOME, …) are handed to programs. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly name?: string;
  readonly zone?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly projects?: readonly string[];
  /** It ends by itself so long after its start, with a grace for its programs before that. */
  readonly wallTimeSeconds?: number;
  /** It ends by itself when there was nothing to do for so long. */
  readonly untilIdleSeconds?: number;
  readonly keepSandboxes?: boolean;
  /** Downloaded inputs are kept up to this size. 10 GiB. */
  readonly cacheBytes?: number;
  /** How it feeds other workers of its zone; false: not at all. Without a zone there is nobody to feed. */
  readonly share?: false | Pick<ZoneOptions, 'listen' | 'address' | 'patience'>;
  readonly killAfterSeconds?: number;
  readonly pollSeconds?: number;
  /** How often a full disk is looked at. */
  readonly lookAtDiskMs?: number;
  readonly fileSystemOf?: FileSystemOf;
}

export interface Worker {
  /** Resolves with the exit code when the worker has left and nothing of it runs any more. */
  readonly done: Promise<number>;
  /** Ends what runs and hands it back, uncharged. */
  stop(): void;
  /** Finishes what runs, claims no more. */
  drain(): void;
}

const CACHE_BYTES = 10 * 1024 ** 3;
const WALL_TIME_GRACE_SECONDS = 30;
const LOOK_MS = 200;

/** Starts a worker that runs programs on this machine. Rejects when it cannot have a work directory. */
export async function startWorker(options: WorkerOptions): Promise<Worker> {
  const { client, log, server } = options;
  const startedAt = performance.now();
  const told = (message: string): void => log.warn({}, message);
  const waits = (_project: string, why: string): void => log.warn({ error: why }, 'files have to wait for the server');
  const work = await takeWorkDirectory(options.workDirectory, server.url, options.fileSystemOf);
  for (const id of work.deadIds) await endMarked(`${id}:`);
  const spool = await openSpool(work.spool, log);
  const cache = openNodeCache({ directory: work.cache, maxBytes: options.cacheBytes ?? CACHE_BYTES, log });
  const zone = await openZone(options, cache).catch(async (error) => {
    await work.release();
    throw error;
  });
  const disk = createDiskWatch({ log, ...(options.lookAtDiskMs ? { lookMs: options.lookAtDiskMs } : {}) });
  const total = detectResources(options);
  const runner = await startRunner({
    directory: work.attempts,
    workId: work.id,
    spawners: total.cpus >= 2 ? 2 : 1,
    baseEnv: baseEnvironment(options.environment),
    server,
    staging: createStaging({
      client,
      cache,
      disk,
      directory: work.path,
      ...(zone ? { zone } : {}),
      told: waits,
    }),
    checkpoints: createCheckpoints(client, waits),
    keepSandboxes: options.keepSandboxes ?? false,
    told,
    ...(options.killAfterSeconds === undefined ? {} : { killAfterSeconds: options.killAfterSeconds }),
  });
  const executor = createLocalExecutor({ total, runner, disk, told });
  const remaining = (): number | null =>
    options.wallTimeSeconds === undefined ? null : Math.max(0, endOf(options.wallTimeSeconds) - age(startedAt));
  let welcome = false;
  const claimant = startClaimant({
    client,
    executor,
    spool,
    log,
    describe: () => ({ ...describeWorker(options, total, remaining()), ...shareOf(zone) }),
    onSession: (session) => {
      welcome = true;
      zone?.welcome(toZoneSession(session));
      return work.saveSession({ session: session.session, secret: session.secret });
    },
    ...(work.oldSession ? { replaces: work.oldSession } : {}),
    ...(options.pollSeconds === undefined ? {} : { pollSeconds: options.pollSeconds }),
  });
  log.info({ directory: work.path, ...total }, 'worker started');
  const watch = watchTheEnd(options, claimant, startedAt);

  const finish = async (): Promise<number> => {
    await claimant.done;
    clearInterval(watch);
    executor.close();
    await runner.close();
    await zone?.close();
    disk.close();
    cache.close();
    await work.release();
    log.info({}, 'worker ended');
    return welcome ? 0 : 3;
  };
  return { done: finish(), stop: claimant.stop, drain: claimant.drain };
}

/** Where it stands alone there is nobody to share with. */
async function openZone(options: WorkerOptions, cache: NodeCache): Promise<ZoneSharing | undefined> {
  const { client, log, server, zone, share } = options;
  if (zone === undefined || share === false) return undefined;
  return shareInZone({ ...share, client, cache, log, serverUrl: server.url });
}

function shareOf(zone: ZoneSharing | undefined): Pick<RegisterRequest, 'share'> {
  const share = zone?.addresses();
  return share ? { share } : {};
}

function toZoneSession({ session, secret, now }: Session): ZoneSession {
  const ahead = now - performance.now();
  return { session, headers: { [SESSION_HEADER]: secret }, serverNow: () => performance.now() + ahead };
}

function describeWorker(
  options: WorkerOptions,
  total: RegisterRequest['total'],
  remainingSeconds: number | null,
): Omit<RegisterRequest, 'replaces'> {
  return {
    protocol: PROTOCOL_VERSION,
    version: options.version,
    name: options.name ?? `${hostname()}-${process.pid}`,
    host: hostname(),
    pid: process.pid,
    zone: options.zone ?? null,
    total,
    labels: { ...options.labels },
    kinds: ['command'],
    remainingSeconds,
    ...(options.projects ? { projects: [...options.projects] } : {}),
  };
}

/** When programs have to be ended so that everything is over within the wall time. */
function endOf(wallTimeSeconds: number): number {
  return wallTimeSeconds - Math.min(WALL_TIME_GRACE_SECONDS, wallTimeSeconds / 4);
}

function age(startedAt: number): number {
  return (performance.now() - startedAt) / 1000;
}

function watchTheEnd(options: WorkerOptions, claimant: Claimant, startedAt: number): NodeJS.Timeout {
  const { wallTimeSeconds, untilIdleSeconds, log } = options;
  return setInterval(() => {
    if (wallTimeSeconds !== undefined && age(startedAt) >= endOf(wallTimeSeconds)) {
      log.info({ wallTimeSeconds }, 'the end of the wall time is near');
      claimant.stop();
    } else if (untilIdleSeconds !== undefined && claimant.idleMs() >= untilIdleSeconds * 1000) {
      log.info({ untilIdleSeconds }, 'nothing to do for so long');
      claimant.drain();
    }
  }, LOOK_MS);
}
