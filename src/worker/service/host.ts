/** The host of one service: takes its jobs up, leads them through their life, and ends when it is told to or replaced. */
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf, PilotageError } from '../../ground/base/errors.ts';
import type { Log } from '../../ground/base/log.ts';
import type { Client } from '../../ground/client/client.ts';
import type { HostJob } from '../../ground/protocol/service.ts';
import { makeDirectories } from './directories.ts';
import { endLeftovers, MARK } from './end-leftovers.ts';
import { createHookLanes, type HookLanes } from './hook-lanes.ts';
import type { LoadedService } from './hook-messages.ts';
import { type HostSession, openHostSession } from './host-session.ts';
import { type LifeContext, Outdated } from './job-desk.ts';
import { createJobLife, type JobLife } from './job-life.ts';
import { findOrphans } from './orphans.ts';
import type { ServiceConfig } from './read-config.ts';
import { createReporter, isReplaced, mayPass } from './reporter.ts';
import { createRoom } from './room.ts';
import { createSlots } from './slots.ts';

export interface HostOptions {
  readonly client: Client;
  readonly config: ServiceConfig;
  readonly version: string;
  readonly log: Log;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The host that the server knows of is dead, whatever it looks like. */
  readonly takeOver?: boolean;
  /** Told before each step of a job's life, so that a test can end everything there. */
  readonly atStep?: LifeContext['atStep'];
}

export interface Host {
  readonly name: string;
  /** Resolves when it was stopped, rejects with what ended it otherwise. */
  readonly done: Promise<void>;
  /** Hooks may come to their end for so long; 10 s unless given. */
  stop(graceSeconds?: number): void;
  /** Something is wrong with this process itself: the host ends, and tells its server why. */
  fail(error: unknown): void;
  /** Ends at once and tells nobody, as if it had been killed. */
  abandon(): void;
}

const GRACE_SECONDS = 10;
const LONGEST_PAUSE_MS = 5000;
const FULL_PAGE = 500;

/** Resolves when it hosts the service; rejects when the module cannot be loaded, or another host lives. */
export async function startHost(options: HostOptions): Promise<Host> {
  const { client, config, version, log } = options;
  await makeDirectories(config.directories);
  const mark = config.home;
  const left = endLeftovers(mark);
  if (left > 0) log.warn({ left }, 'processes of hooks from an earlier host were still there: they were ended');
  const hooks = hookLanes(options, mark);
  try {
    const loaded = await hooks.load().catch((error: unknown) => {
      throw new PilotageError(
        'bad-request',
        `'${config.module}' cannot be loaded: ${messageOf(error)}: 'pilotage service check ${config.home}' says more`,
        { cause: error },
      );
    });
    const at = { project: config.project, service: loaded.name };
    const session = await openHostSession(client, at, {
      version,
      facts: factsOf(loaded, config),
      takeOver: options.takeOver === true,
    });
    log.info({ service: loaded.name, session: session.number }, `hosting the service '${loaded.name}'`);
    for (const warning of session.warnings) log.warn({ service: loaded.name }, warning);
    return runHost(options, { hooks, loaded, session });
  } catch (error) {
    hooks.stop();
    throw error;
  }
}

function hookLanes({ config, environment }: HostOptions, mark: string): HookLanes {
  return createHookLanes({
    module: config.module,
    home: config.home,
    concurrency: config.concurrency,
    limits: { seconds: config.hookSeconds, memory: config.hookMemory },
    environment: { ...environment, [MARK]: mark },
  });
}

function factsOf(loaded: LoadedService, config: ServiceConfig) {
  const { directories, archiveSeconds, expireSeconds, limits, mail, webhooks } = config;
  return {
    title: loaded.title,
    parameters: loaded.parameters,
    incoming: directories.INCOMING,
    archiveSeconds,
    expireSeconds,
    limits,
    mail: { admins: [...mail.admins], users: mail.users },
    webhooks: [...webhooks],
  };
}

function runHost(
  { client, config, log, atStep }: HostOptions,
  { hooks, loaded, session }: { hooks: HookLanes; loaded: LoadedService; session: HostSession },
): Host {
  const ending = new AbortController();
  const ended = new AbortController();
  const lives = new Map<number, { life: JobLife; done: Promise<void> }>();
  const news = { after: 0, nudged: 0 };
  let asking = new AbortController();
  let isLookedThrough = false;
  let graceSeconds = GRACE_SECONDS;
  let fatal: unknown;
  let isAbandoned = false;

  const end = (error: unknown): void => {
    fatal ??= error;
    ending.abort(new Error('the host ends'));
    ended.abort(new Error('the host ends'));
  };

  const context: LifeContext = {
    client,
    project: config.project,
    service: { name: loaded.name, config: config.config },
    hasHooks: new Set(loaded.hooks),
    results: loaded.results,
    hooks,
    slots: createSlots(config.running),
    reporter: createReporter(session, { signal: ended.signal, log }),
    directories: config.directories,
    room: createRoom(config, log),
    gate: createSlots(1),
    mailsUsers: config.mail.users,
    ending: ending.signal,
    signal: ended.signal,
    log,
    ...(atStep ? { atStep } : {}),
  };

  const lead = async (life: JobLife): Promise<void> => {
    try {
      await life.run();
    } catch (error) {
      if (ending.signal.aborted) return;
      if (isReplaced(error)) return end(error);
      const { number } = life.job;
      if (error instanceof Outdated) log.info({ job: number }, error.message);
      else
        log.error({ job: number, err: error }, `job ${number} cannot go on, it is taken up again: ${messageOf(error)}`);
      // A moment, so that what goes wrong each time does so at a pace.
      await pause(1000, undefined, { signal: ending.signal }).catch(() => {});
      lookAtAll();
    }
  };

  const lookAtAll = (): void => {
    news.after = 0;
    asking.abort();
  };

  const take = (job: HostJob): void => {
    const known = lives.get(job.id);
    if (known) {
      known.life.tell(job);
      return;
    }
    const life = createJobLife(context, job);
    const done = lead(life).finally(() => {
      lives.delete(job.id);
      if (life.hasNews && !ending.signal.aborted) take(life.job);
    });
    lives.set(job.id, { life, done });
  };

  const look = async (): Promise<void> => {
    const from = news.after;
    asking = new AbortController();
    const found = await session.poll(
      { after: from, nudged: news.nudged, isWaiting: isLookedThrough },
      AbortSignal.any([ending.signal, asking.signal]),
    );
    if (news.after === from) news.after = found.nudged === news.nudged ? found.after : 0;
    news.nudged = found.nudged;
    for (const job of found.jobs) take(job);
    if (!isLookedThrough && found.jobs.length < FULL_PAGE) {
      isLookedThrough = true;
      void reportOrphans();
    }
  };

  const reportOrphans = async (): Promise<void> => {
    const at = { project: config.project, service: loaded.name };
    const inHand = new Set([...lives.values()].map(({ life }) => life.job.number));
    const found = { directories: config.directories, isInHand: (number: string) => inHand.has(number) };
    const orphans = await findOrphans(client, at, found).catch((error: unknown) => {
      log.warn({}, `it could not be seen whether directories belong to nobody: ${messageOf(error)}`);
      return [];
    });
    for (const orphan of orphans)
      log.warn(
        { orphan },
        `'${orphan}' belongs to no job of this service any more: it was left alone, remove it if it is not needed`,
      );
  };

  const watch = async (): Promise<void> => {
    for (let wait = 100; !ending.signal.aborted; ) {
      try {
        await look();
        wait = 100;
      } catch (error) {
        if (ending.signal.aborted) return;
        if (asking.signal.aborted) continue;
        if (isReplaced(error)) return end(error);
        if (!mayPass(error))
          log.error({ err: error }, `the server refused to say what there is to do: ${messageOf(error)}`);
        await pause(wait, undefined, { signal: ending.signal }).catch(() => {});
        wait = Math.min(2 * wait, LONGEST_PAUSE_MS);
      }
    }
  };

  const all = async (): Promise<void> => {
    await watch();
    if (isAbandoned) return;
    const settled = Promise.all([...lives.values()].map(({ done }) => done));
    await Promise.race([
      settled,
      pause(graceSeconds * 1000, undefined, { signal: ended.signal, ref: false }).catch(() => {}),
    ]);
    ended.abort(new Error('the host ends'));
    await settled;
    hooks.stop();
    const reason = fatal === undefined ? undefined : messageOf(fatal);
    if (!isReplaced(fatal)) await session.leave(reason).catch(() => {});
    if (fatal !== undefined) throw fatal;
  };

  return {
    name: loaded.name,
    done: all(),
    fail: end,
    abandon() {
      isAbandoned = true;
      ended.abort(new Error('the host was abandoned'));
      ending.abort(new Error('the host was abandoned'));
      hooks.stop();
    },
    stop(seconds = GRACE_SECONDS) {
      graceSeconds = seconds;
      ending.abort(new Error('the host ends'));
    },
  };
}
