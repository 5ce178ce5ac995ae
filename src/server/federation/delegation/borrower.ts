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
import type { Parts } from '../../pool/parts.ts';
import { ANY_SUBMISSION } from '../../pool/signals.ts';
import type { PeerRow } from '../../store/verbs/peers.ts';
import type { Identity } from '../identity.ts';
import { openSecrets, type Taken } from './borrow.ts';
import { createResults } from './bring-results.ts';
import { createEnds } from './find-ends.ts';
import { createHeldTasks } from './held-tasks.ts';
import { createLiveTask, type LiveTask } from './live-task.ts';
import { createLogReader } from './log-reader.ts';
import { isServed } from './match.ts';
import { createPutAway } from './put-away.ts';
import { withoutFiles } from './report.ts';
import { soundShape } from './sound-shape.ts';
import { createTakeIn } from './take-in.ts';

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
  /** Asks for tasks that fit into these; resolves with what they ask for once they came. */
  ask(bins: readonly Bin[], waitSeconds: number): Promise<Shape[]>;
  /** What those ask for that came and are not in our pool yet: more may be asked for meanwhile. */
  arriving(): readonly Shape[];
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

const NOTHING = { cpus: 0, memory: 0, gpus: 0, named: {} };
const LOOK_MS = 1000;
const PROGRESS_MS = 2000;
const AGAIN_MS = 1000;

export async function startBorrower(options: BorrowerOptions): Promise<Borrower> {
  const { parts, identity, client, peer, onChange } = options;
  const { store, log, signals } = parts;
  const held = createHeldTasks();
  const stopped = new AbortController();
  let grant: Grant | undefined;
  let tellRoom = (): void => undefined;
  let drops: Promise<void> = Promise.resolve();

  const peerId = (): string => peer().id;
  const logs = createLogReader(parts);
  const onBrought = (report: Report, problem: string | undefined): void =>
    held.find(report)?.finish(problem === undefined ? report : withoutFiles(report, problem));
  const results = createResults({ parts, client, signal: stopped.signal, onBrought });
  const taskOptions = {
    onDrop: (task: LiveTask) => {
      drops = drops.then(() => cancelUntilDone(task));
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

  /** What nobody wants any more is forgotten here only once it has ended. */
  const cancelUntilDone = async (task: LiveTask): Promise<void> => {
    while (!stopped.signal.aborted) {
      try {
        return await cancelHere(task);
      } catch (error) {
        log.error({ err: error }, `a borrowed task was not ended, it will be: ${messageOf(error)}`);
        await pause(AGAIN_MS, undefined, { signal: stopped.signal, ref: false }).catch(() => undefined);
      }
    }
  };
  const cancelHere = async ({ local }: LiveTask): Promise<void> => {
    if (!local || !(await mayLookAfter())) return;
    const { sessions } = await store.endTasks({ ...local, as: 'cancelled', limit: 1 });
    await store.alertWorkers({ sessions });
    for (const session of sessions) signals.session(session);
    signals.changed(local.submission);
  };

  // What comes

  const incoming = createTakeIn({ parts, identity, peer, held, mayLookAfter, onDrop: taskOptions.onDrop });
  const take = (claim: Claim, spec: Taken['spec']): LiveAttempt => {
    const task = createLiveTask(claim, taskOptions);
    held.add(task);
    const isOurs = isServed(claim.project, claim.home !== undefined, JSON.parse(peer().terms) as Terms);
    // What no home of good will would give is not let near our workers.
    const shape = isOurs ? soundShape(claim, spec) : undefined;
    if (!shape) {
      incoming.release(claim);
      return task.attempt;
    }
    grant?.shapes.push(shape);
    incoming.add({ claim, spec }, shape);
    return task.attempt;
  };

  // What goes back

  const away = createPutAway({
    ...{ parts, peerId, held, mayLookAfter, onChange, signal: stopped.signal },
    settled: async () => {
      let seen: Promise<void>;
      do {
        seen = drops;
        await seen;
        await incoming.settled();
      } while (seen !== drops);
    },
  });
  const ends = createEnds({ parts, peerId, held, onEnds: results.bring, onWholeLook: away.strays });

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
    if (held.live.size === 0) return;
    for (const row of await store.borrowedProgress({ peerId: peerId() }))
      held.at({ submission: row.submission_id, idx: row.idx })?.noteProgress(row.progress);
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
      over.done.resolve(over.shapes);
    },
    settled: (task, attempt) => {
      if (held.leave({ task, attempt })) away.soon();
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
    held.add(task);
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
  const loops = [every(LOOK_MS, [ANY_SUBMISSION], ends.look), every(PROGRESS_MS, [], noteProgress)];

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
    arriving: incoming.arriving,
    rate: ends.rate,
    async stop() {
      stopped.abort();
      claimant.detach();
      await claimant.done;
      await Promise.all(loops);
      await Promise.allSettled([drops, incoming.settled(), results.idle()]);
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
