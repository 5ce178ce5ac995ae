/**
 * What this server is for a neighbour: a worker. It claims when the allocator says so, what it claims goes into our pool,
 * and how that ends is reported. All that it holds is on disk, so a restart changes nothing.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../../../ground/base/errors.ts';
import { type Claimant, startClaimant } from '../../../ground/claimant/exchange-loop.ts';
import type { Executor, LiveAttempt, Room } from '../../../ground/claimant/executor.ts';
import type { Session } from '../../../ground/claimant/session.ts';
import type { Client } from '../../../ground/client/client.ts';
import type { Bin, Claim, Report } from '../../../ground/protocol/exchange.ts';
import { MAX_BATCH, PROTOCOL_VERSION } from '../../../ground/protocol/limits.ts';
import type { Terms } from '../../../ground/protocol/peer.ts';
import type { Shape } from '../../core/shape.ts';
import { toShape } from '../../pool/new-submission.ts';
import type { Parts } from '../../pool/parts.ts';
import { ANY_SUBMISSION } from '../../pool/signals.ts';
import type { PeerRow } from '../../store/verbs/peers.ts';
import type { Identity } from '../identity.ts';
import { openSecrets, type Taken, toGroups } from './borrow.ts';
import { createResults } from './bring-results.ts';
import { isSound } from './is-sound.ts';
import { createLiveTask, type LiveTask } from './live-task.ts';
import { createLogReader } from './log-reader.ts';
import { isServed } from './match.ts';
import { toReport, withoutFiles } from './report.ts';

export interface BorrowerOptions {
  readonly parts: Parts;
  readonly identity: Identity;
  readonly client: Client;
  /** As it stands now. */
  readonly peer: () => PeerRow;
  readonly name: string;
  /** False: another server of this database may look after what is borrowed by now. */
  readonly isLeader: () => boolean;
  /** Something that was borrowed ended, or came: there may be room. */
  readonly onChange: () => void;
}

export interface Borrower {
  /** Asks for tasks that fit into these; resolves with what they ask for once they are in our pool. */
  ask(bins: readonly Bin[], waitSeconds: number): Promise<Shape[]>;
  /** Tasks that ended of late, a second. */
  rate(): number;
  /** The neighbour's clock does not matter: leaves it at once, and ends nothing. */
  stop(): Promise<void>;
}

interface Grant {
  readonly bins: readonly Bin[];
  readonly waitSeconds: number;
  readonly done: PromiseWithResolvers<Shape[]>;
  readonly shapes: Shape[];
  isTaken: boolean;
}

function nameOf({ submission, idx }: { submission: number; idx: number }): string {
  return `${submission}.${idx}`;
}

const NOTHING = { cpus: 0, memory: 0, gpus: 0, named: {} };
const LOOK_MS = 1000;
const PROGRESS_MS = 2000;
const MOST_ENDS = 500;
const RATE_MS = 5000;
const AGAIN_MS = 1000;
const STRAY_MS = 60_000;

export async function startBorrower(options: BorrowerOptions): Promise<Borrower> {
  const { parts, identity, client, peer, onChange } = options;
  const { store, log, signals } = parts;
  const live = new Map<string, LiveTask>();
  const byPlace = new Map<string, LiveTask>();
  const settledKeys: LiveTask[] = [];
  const stopped = new AbortController();
  const ends: number[] = [];
  let isSettling = false;
  let seenUpTo = 0;
  let lastWholeLook = Number.NEGATIVE_INFINITY;
  let grant: Grant | undefined;
  let incoming: Taken[] = [];
  let tellRoom = (): void => undefined;
  let drops: Promise<void> = Promise.resolve();
  let flushing: Promise<void> = Promise.resolve();

  const keyOf = ({ task, attempt }: { task: string; attempt: number }): string => `${task}/${attempt}`;
  const logs = createLogReader(parts);
  const onBrought = (report: Report, problem: string | undefined): void =>
    live.get(keyOf(report))?.finish(problem === undefined ? report : withoutFiles(report, problem));
  const results = createResults({ parts, client, signal: stopped.signal, onBrought });
  const taskOptions = {
    onDrop: (task: LiveTask) => {
      drops = drops
        .then(() => cancelHere(task))
        .catch((error: unknown) => log.error({ err: error }, 'a borrowed task was not ended'));
    },
    takeLogs: logs.take,
    returnLogs: logs.giveBack,
  };

  /** Waits while it is not certain that this server keeps the links. False: another one does, and all this is its business. */
  const mayLookAfter = async (): Promise<boolean> => {
    while (!options.isLeader() && !stopped.signal.aborted)
      await pause(AGAIN_MS / 10, undefined, { signal: stopped.signal, ref: false }).catch(() => undefined);
    return options.isLeader();
  };

  const cancelHere = async ({ local }: LiveTask): Promise<void> => {
    if (!local || !(await mayLookAfter())) return;
    const { sessions } = await store.endTasks({ ...local, as: 'cancelled', limit: 1 });
    await store.alertWorkers({ sessions });
    for (const session of sessions) signals.session(session);
    signals.changed(local.submission);
  };

  // What comes

  const take = (claim: Claim, spec: Taken['spec']): LiveAttempt => {
    const task = createLiveTask(claim, taskOptions);
    live.set(keyOf(claim), task);
    const isOurs = isServed(claim.project, claim.home !== undefined, JSON.parse(peer().terms) as Terms);
    // What no home of good will would give is not let near our workers.
    if (!isOurs || !isSound(claim, spec)) {
      release(claim);
      return task.attempt;
    }
    grant?.shapes.push(toShape(spec as Parameters<typeof toShape>[0]));
    incoming.push({ claim, spec });
    if (incoming.length === 1) flushing = flushing.then(flush);
    return task.attempt;
  };

  /** All claims of one answer go in together. Until they are on disk the neighbour may take them for lost, and give them again. */
  const flush = async (): Promise<void> => {
    await Promise.resolve();
    const isOurs = await mayLookAfter();
    const taken = incoming;
    incoming = [];
    // Nobody would hear how these ended. The neighbour sees that they are not held, and gives them again.
    if (!isOurs) return;
    const groups = toGroups(taken, peer(), identity);
    try {
      const ids = await store.borrowTasks({ groups });
      for (const [i, group] of groups.entries())
        for (const one of group.tasks) place(keyOf(one), { submission: ids[i] as number, idx: one.idx });
      parts.dirty();
      signals.queued();
    } catch (error) {
      log.error(
        { err: error, tasks: taken.length },
        `borrowed tasks could not be kept and are given back: ${messageOf(error)}`,
      );
      for (const { claim } of taken) release(claim);
    }
  };

  const place = (key: string, local: { submission: number; idx: number }): void => {
    const task = live.get(key) ?? settledKeys.find(({ claim }) => keyOf(claim) === key);
    if (!task) return;
    task.local = local;
    byPlace.set(nameOf(local), task);
    if (task.isDropped) taskOptions.onDrop(task);
  };

  const release = ({ task, attempt, secret }: Claim): void => {
    live.get(keyOf({ task, attempt }))?.finish({ task, attempt, secret, outcome: 'released' });
  };

  // What goes back

  const reportEnds = async (): Promise<void> => {
    const isWholeLook = performance.now() - lastWholeLook > LOOK_MS;
    if (isWholeLook) lastWholeLook = performance.now();
    const found = await store.endedBorrowed({ peerId: peer().id, after: isWholeLook ? null : seenUpTo });
    if (isWholeLook) await putAwayStrays(found);
    // One that ended before its place was known is found again.
    const early = found.find((key) => !byPlace.has(nameOf(key)));
    seenUpTo = early ? Number(early.sequence) - 1 : Number(found.at(-1)?.sequence ?? seenUpTo);
    const news = found.filter((key) => {
      const task = byPlace.get(nameOf(key));
      return task && !task.isReported;
    });
    for (let at = 0; at < news.length; at += MOST_ENDS) {
      const keys = news.slice(at, at + MOST_ENDS);
      const { ended, logs: written } = await store.readEnded({ keys });
      const over = ended.flatMap((row) => {
        const task = live.get(keyOf(row));
        if (!task) return [];
        task.isReported = true;
        task.cpuMs = 1000 * (row.cpu_seconds ?? row.wall_seconds ?? 0);
        return [{ project: row.project, report: toReport(row, written, task.claim.secret) }];
      });
      await results.bring(over);
      ends.push(...ended.map(() => performance.now()));
    }
  };

  /** What nobody here knows of has no way home, and its home gave it to others long ago. */
  const strays = new Map<string, number>();
  const putAwayStrays = async (found: readonly { submission: number; idx: number }[]): Promise<void> => {
    const unknown = found.filter((key) => !byPlace.has(nameOf(key)));
    const names = new Set(unknown.map(nameOf));
    for (const name of strays.keys()) if (!names.has(name)) strays.delete(name);
    for (const name of names) if (!strays.has(name)) strays.set(name, performance.now());
    const old = unknown.filter((key) => performance.now() - (strays.get(nameOf(key)) ?? 0) > STRAY_MS);
    if (old.length === 0 || !options.isLeader()) return;
    log.warn({ peer: peer().name, tasks: old.length }, 'borrowed tasks that nobody looks after are put away');
    for (const id of await store.settleBorrowed({ peerId: peer().id, cpuMs: 0, keys: old }))
      await store.forgetSubmission({ id });
  };

  const settle = async (): Promise<void> => {
    // Where a task is comes to be known while claims are put away; one that nobody wants is ended only then.
    await flushing;
    await drops;
    const tasks = settledKeys.splice(0);
    const keys = tasks.flatMap(({ local }) => (local ? [local] : []));
    if (keys.length === 0) return;
    const cpuMs = tasks.reduce((sum, task) => sum + task.cpuMs, 0);
    try {
      if (!(await mayLookAfter())) return;
      const over = await store.settleBorrowed({ peerId: peer().id, cpuMs, keys });
      for (const key of keys) byPlace.delete(nameOf(key));
      for (const id of over) await store.forgetSubmission({ id });
    } catch (error) {
      // Still here, and told again after a restart: they are put away later.
      settledKeys.push(...tasks.filter(({ local }) => local && byPlace.has(nameOf(local))));
      throw error;
    }
    parts.dirty();
  };
  const settleSoon = (): void => {
    if (isSettling) return;
    isSettling = true;
    setImmediate(async () => {
      while (settledKeys.length > 0 && !stopped.signal.aborted)
        await settle().then(onChange, async (error: unknown) => {
          log.error({ err: error }, `borrowed tasks were not put away, they will be: ${messageOf(error)}`);
          await pause(AGAIN_MS, undefined, { signal: stopped.signal, ref: false }).catch(() => undefined);
        });
      isSettling = false;
    });
  };

  // Time

  const every = async (ms: number, topics: readonly string[], act: () => Promise<void>): Promise<void> => {
    while (!stopped.signal.aborted) {
      const woken = signals.wait(topics, ms, stopped.signal);
      await act().catch((error: unknown) => {
        if (!stopped.signal.aborted)
          log.error(
            { err: error, peer: peer().name },
            `looking after borrowed tasks failed, it will be tried again: ${messageOf(error)}`,
          );
      });
      await woken;
      if (topics.length > 0) await pause(5, undefined, { ref: false });
    }
  };
  const noteProgress = async (): Promise<void> => {
    if (live.size === 0) return;
    const rows = await store.borrowedProgress({ peerId: peer().id });
    const byLocal = new Map(rows.map((row) => [`${row.submission_id}.${row.idx}`, row]));
    for (const task of live.values()) {
      const row = task.local && byLocal.get(`${task.local.submission}.${task.local.idx}`);
      if (row) task.noteProgress(row.attempt, row.progress);
    }
  };

  const executor: Executor = {
    start: take,
    room: (): Room => {
      const none = { offer: NOTHING, claims: 0, ahead: 0, patient: false };
      if (!grant || grant.isTaken) return none;
      return { ...none, claims: MAX_BATCH, bins: grant.bins, waitSeconds: grant.waitSeconds };
    },
    asking: () => {
      if (grant) grant.isTaken = true;
    },
    asked: () => {
      const over = grant;
      if (!over?.isTaken) return;
      grant = undefined;
      void flushing.then(() => over.done.resolve(over.shapes));
    },
    settled: (task, attempt) => {
      const one = live.get(keyOf({ task, attempt }));
      if (!one) return;
      live.delete(keyOf(one.claim));
      settledKeys.push(one);
      settleSoon();
    },
    onRoom: (listener) => {
      tellRoom = listener;
    },
  };
  /** Nothing is claimed before it is on disk. */
  const keepSession = async ({ session: id, secret }: Session): Promise<void> => {
    while (!stopped.signal.aborted) {
      try {
        return await store.keepPeerSession({ id: peer().id, session: id, secret: identity.seal(secret) });
      } catch (error) {
        log.error({ err: error }, `the session at a neighbour could not be kept: ${messageOf(error)}`);
        await pause(AGAIN_MS, undefined, { signal: stopped.signal, ref: false }).catch(() => undefined);
      }
    }
  };

  const adopted = await adopt(options, (claim, local) => {
    const task = createLiveTask(claim, taskOptions);
    task.local = local;
    byPlace.set(nameOf(local), task);
    live.set(keyOf(claim), task);
    return task.attempt;
  });
  const { session, session_secret: sealed } = peer();
  const claimant: Claimant = startClaimant({
    client,
    executor,
    log,
    spool: { found: [], keep: async () => undefined, forget: () => undefined, putAside: async () => undefined },
    describe: () => ({
      protocol: PROTOCOL_VERSION,
      version: parts.version,
      name: options.name,
      host: options.name,
      pid: process.pid,
      zone: null,
      total: NOTHING,
      labels: {},
      kinds: ['command'],
      remainingSeconds: null,
    }),
    adopted,
    ...(session !== null && sealed !== null ? { replaces: { session, secret: identity.open(sealed) } } : {}),
    onSession: keepSession,
    lastWordsSeconds: 0,
  });
  const loops = [every(LOOK_MS, [ANY_SUBMISSION], reportEnds), every(PROGRESS_MS, [], noteProgress)];

  return {
    ask(bins, waitSeconds) {
      if (grant?.isTaken) return Promise.resolve([]);
      // What an earlier one asked for, and nobody sent out, is asked for no longer.
      grant?.done.resolve([]);
      const made: Grant = { bins, waitSeconds, done: Promise.withResolvers(), shapes: [], isTaken: false };
      grant = made;
      tellRoom();
      return made.done.promise;
    },
    rate() {
      const since = performance.now() - RATE_MS;
      while (ends.length > 0 && (ends[0] as number) < since) ends.shift();
      return ends.length / (RATE_MS / 1000);
    },
    async stop() {
      stopped.abort();
      claimant.detach();
      await claimant.done;
      await Promise.all(loops);
      await Promise.allSettled([drops, flushing, results.idle()]);
    },
  };
}

/** What an earlier run of the server had in its hands. */
async function adopt(
  { parts, identity, peer }: BorrowerOptions,
  make: (claim: Claim, local: { submission: number; idx: number }) => LiveAttempt,
): Promise<{ claim: Claim; live: LiveAttempt }[]> {
  const rows = await parts.store.listBorrowed({ peerId: peer().id });
  const secrets = await openSecrets(parts.store, identity, rows);
  return rows.map((row, i) => {
    const claim: Claim = {
      task: row.task,
      attempt: row.attempt,
      secret: secrets[i] ?? '',
      project: row.project,
    };
    return { claim, live: make(claim, { submission: row.submission_id, idx: row.idx }) };
  });
}
