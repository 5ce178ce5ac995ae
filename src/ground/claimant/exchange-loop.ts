/**
 * The claimant's side of the exchange: one long poll is always open; what happens meanwhile travels in a second
 * exchange, with the next number, which makes the server end the older poll. So a report, and the claim of what takes
 * its place, are one round trip, and a cancellation arrives at once.
 *
 *   registering ──session──▶ working ──drain, stop──▶ leaving ──nothing held──▶ left
 *        ▲                      │
 *        └───session-ended──────┘         no answer: back off, forever; programs go on
 *
 * Nothing is repeated under an old number: whatever an unanswered exchange carried goes into the next one, and claims
 * that a lost reply brought are not among what that one lists as held, so the server gives them again. It compares when
 * it is asked to: until an exchange is answered after one was not, when there is progress to tell, and now and then. A long
 * list goes along only when it is to be compared, or when a poll may stay open for long.
 *
 * It is one closure of some 400 lines because all of it turns around one small state (session, in flight, held).
 */
import { messageOf, PilotageError } from '../base/errors.ts';
import type { Client } from '../client/client.ts';
import type { Claim, ExchangeReply, ExchangeRequest, LogChunk, RegisterRequest, Report } from '../protocol/exchange.ts';
import { MAX_BATCH } from '../protocol/limits.ts';
import type { TaskSpec } from '../protocol/spec.ts';
import { workerCalls } from '../protocol/worker-calls.ts';
import { createBackoff } from './backoff.ts';
import type { EndCause, Executor, LiveAttempt, Log, Room } from './executor.ts';
import { createHeldTable, type Held } from './held-table.ts';
import { createLogOutbox } from './log-outbox.ts';
import { toPlainReport } from './plain-report.ts';
import {
  explainFailure,
  type OldSession,
  QUIET,
  registerUntilWelcome,
  SESSION_HEADER,
  type Session,
} from './session.ts';
import { createSpecCache } from './spec-cache.ts';
import type { Spool } from './spool.ts';

export interface ClaimantOptions {
  readonly client: Client;
  readonly executor: Executor;
  readonly spool: Spool;
  readonly log: Log;
  /** What the claimant says of itself; asked at each registration. */
  readonly describe: () => Omit<RegisterRequest, 'replaces' | 'protocol'> & { protocol: number };
  /** The session of the worker that had this work directory before. */
  readonly replaces?: OldSession;
  /** Attempts of that session that go on here, because they live elsewhere (in a batch system). */
  readonly adopted?: readonly { readonly claim: Claim; readonly live: LiveAttempt }[];
  /** Told of each new session, before anything is claimed with it. */
  readonly onSession?: (session: Session) => void | Promise<void>;
  /** How long a poll stays open; never longer than most of the server's heartbeat interval. 25 s. */
  readonly pollSeconds?: number;
  /** When it ends and the server does not answer: how long to go on trying; what is not delivered stays spooled. 10 s. */
  readonly lastWordsSeconds?: number;
}

export interface Claimant {
  /** Resolves when the claimant has left: everything delivered, or spooled. */
  readonly done: Promise<void>;
  /** Finishes what runs, claims no more, leaves. */
  drain(): void;
  /** Ends what runs, reports it as ended, leaves. */
  stop(): void;
  /** Leaves at once and ends nothing: what runs goes on elsewhere, to be adopted by the next claimant here. */
  detach(): void;
  /** Milliseconds since there was last anything to do; 0 while there is. */
  idleMs(): number;
}

interface InFlight {
  readonly number: number;
  readonly room: Room;
  readonly isCompared: boolean;
  readonly isListed: boolean;
  readonly sent: readonly Held[];
  readonly logs: readonly LogChunk[];
  readonly abort: AbortController;
  readonly since: number;
}

const MAX_BODY_BYTES = 8 * 1024 * 1024;
/** An attempt that ran for so long is worth an fsync at once; a shorter one only if its answer takes long. */
const PRECIOUS_SECONDS = 1;
/** A longer list of what is held goes along at most so often, unless there is a reason. */
const SHORT_LIST = 100;
const LIST_EVERY_MS = 1000;
/** While programs run, a poll is opened so long after the last answer: very short ones report sooner than that. */
const POLL_DELAY_MS = 10;
const PATIENCE_MS = 10;
const TICK_MS = 200;
const PROGRESS_EVERY_TICKS = 25;
const MOVES_EVERY_TICKS = 3;
/** An answer that says nothing, sooner than this, was not a long poll: do not spin. */
const TOO_SOON_MS = 100;

/** All waiting here goes by a clock that nobody sets. */
const now = (): number => performance.now();

export function startClaimant(options: ClaimantOptions): Claimant {
  const { client, executor, spool, log } = options;
  const held = createHeldTable(now);
  const specs = createSpecCache();
  const output = createLogOutbox(held, MAX_BODY_BYTES / 4, now);
  const inFlight = new Map<number, InFlight>();
  const backoff = createBackoff(200, 5000);
  const ending = new AbortController();
  const done = Promise.withResolvers<void>();

  let session: Session | undefined;
  let registering = false;
  let mode: 'work' | 'drain' | 'stop' | 'left' = 'work';
  let number = 0;
  let news = false;
  let pausedUntil = 0;
  let failing: string | undefined;
  let followUntil = 0;
  let batchLimit = MAX_BATCH;
  let pumpPlanned = false;
  let idleSince = now();
  let deadline: NodeJS.Timeout | undefined;
  let ticks = 0;
  let later: NodeJS.Timeout | undefined;
  let pollDue = 0;
  let listedAt = Number.NEGATIVE_INFINITY;
  let comparedAt = Number.NEGATIVE_INFINITY;
  /** The last exchange that may have gone out before one that got no answer. */
  let unsureUpTo = 0;

  // What happens

  const wake = (): void => {
    news = true;
    planPump();
  };
  const planPump = (): void => {
    if (pumpPlanned) return;
    pumpPlanned = true;
    setImmediate(() => {
      pumpPlanned = false;
      pump();
    });
  };

  const register = async (replaces: OldSession | undefined): Promise<void> => {
    registering = true;
    const mine = [...held.values()].map(({ task, attempt }) => ({ task, attempt }));
    session = await registerUntilWelcome({
      client,
      log,
      signal: ending.signal,
      request: () => ({ ...options.describe(), ...(replaces ? { replaces: { ...replaces, held: mine } } : {}) }),
    });
    if (!session) return;
    number = 0;
    unsureUpTo = 0;
    comparedAt = Number.NEGATIVE_INFINITY;
    specs.clear();
    log.info({ worker: session.worker }, 'registered');
    await options.onSession?.(session);
    registering = false;
    backoff.reset();
    pausedUntil = 0;
    planPump();
  };

  const pump = (): void => {
    if (mode === 'left') return;
    if (mode !== 'work' && held.size === 0) {
      void leave();
      return;
    }
    if (!session || registering) return;
    if (now() < pausedUntil) {
      planPumpIn(pausedUntil - now());
      return;
    }
    const something = (news || held.ready.size > 0) && mayGo();
    if (inFlight.size === 0) {
      const wait = something || held.size === 0 ? 0 : pollDue - now();
      if (wait <= 0) void exchange(session);
      else planPumpIn(wait);
      return;
    }
    // Reports that come meanwhile go together in the next one; who asks for others' workers does not wait for an answer to them.
    const mayJoin = executor.room().bins !== undefined || [...inFlight.values()].every(({ sent }) => sent.length === 0);
    if (something && mayJoin && inFlight.size < 2) void exchange(session);
  };

  /** While more short tasks wait here, their reports go together, a few milliseconds' worth at a time. */
  const mayGo = (): boolean => {
    if (mode !== 'work' || held.ready.size >= MAX_BATCH || !executor.room().patient) return true;
    const [oldest] = held.ready;
    const wait = (oldest?.reportedAt ?? now()) + PATIENCE_MS - now();
    if (wait > 0) planPumpIn(wait);
    return wait <= 0;
  };
  const planPumpIn = (ms: number): void => {
    clearTimeout(later);
    later = setTimeout(planPump, ms);
  };

  // One exchange

  const exchange = async (over: Session): Promise<void> => {
    news = false;
    number += 1;
    const room = executor.room();
    if (room.claims > 0) executor.asking?.(room);
    const isCompared = unsureUpTo > 0 || now() - comparedAt >= over.heartbeatSeconds * 500;
    const current: InFlight = {
      number,
      room,
      isCompared,
      isListed: isCompared || held.size <= SHORT_LIST || now() - listedAt >= LIST_EVERY_MS,
      sent: held.takeReady({ count: batchLimit, bytes: MAX_BODY_BYTES }),
      logs: output.take(now() < followUntil),
      abort: new AbortController(),
      since: now(),
    };
    inFlight.set(current.number, current);
    try {
      const body = toRequest(current, over);
      const reply = await client.call(workerCalls.exchange, {
        params: { session: over.session },
        headers: { [SESSION_HEADER]: over.secret },
        body,
        timeoutSeconds: body.waitSeconds + 20,
        signal: current.abort.signal,
      });
      inFlight.delete(current.number);
      if (over === session) carryOut(reply, current);
      if (current.room.claims > 0) executor.asked?.(reply.claims.length);
    } catch (error) {
      if (current.room.claims > 0) executor.asked?.(0);
      inFlight.delete(current.number);
      held.putBack(current.sent);
      output.putBack(current.logs);
      if (over === session && mode !== 'left' && !current.abort.signal.aborted) recover(error, current);
    }
    held.forgetRemovedBefore(Math.min(Number.POSITIVE_INFINITY, ...inFlight.keys()));
    if (inFlight.size === 0) pollDue = now() + POLL_DELAY_MS;
    planPump();
  };

  const toRequest = (current: InFlight, over: Session): ExchangeRequest => {
    const { room, isListed, isCompared } = current;
    if (isListed) listedAt = now();
    if (isCompared) comparedAt = now();
    return {
      number: current.number,
      ...(isListed ? { held: held.list() } : {}),
      ...(isCompared ? { compare: true } : {}),
      reports: current.sent.map((item) => item.report as Report),
      free: room.offer,
      maxClaims: mode === 'work' ? Math.min(room.claims + room.ahead, MAX_BATCH) : 0,
      ...(room.ahead > 0 && mode === 'work' ? { ahead: Math.min(room.ahead, MAX_BATCH) } : {}),
      ...(room.bins && mode === 'work' ? { bins: [...room.bins] } : {}),
      waitSeconds: Math.min(room.waitSeconds ?? options.pollSeconds ?? 25, over.heartbeatSeconds * 0.8),
      knownSpecs: specs.known(),
      ...(current.logs.length > 0 ? { logs: [...current.logs] } : {}),
    };
  };

  const carryOut = (reply: ExchangeReply, current: InFlight): void => {
    if (failing) log.info({}, 'the server answers again');
    failing = undefined;
    backoff.reset();
    if (session) session = Object.assign(session, { heartbeatSeconds: reply.heartbeatSeconds });
    if (current.isCompared && current.number > unsureUpTo) unsureUpTo = 0;
    if (reply.listHeld) compareSoon();
    for (const answer of reply.answers) settle(answer);
    held.putBack(current.sent.filter((item) => held.find(item) === item));
    for (const attempt of reply.drop) drop(attempt);
    for (const [id, spec] of Object.entries(reply.specs)) specs.add(Number(id), spec);
    for (const claim of reply.claims) accept(claim);
    followUntil = now() + reply.followSeconds * 1000;
    if (current.sent.length > 0) batchLimit = MAX_BATCH;
    if (reply.instruction !== 'work') follow(reply.instruction);
    const isEmpty = reply.answers.length + reply.claims.length + reply.drop.length === 0 && !reply.listHeld;
    const silent = isEmpty && current.room.waitSeconds === undefined;
    if (silent && current.number === number && now() - current.since < TOO_SOON_MS) pause(TOO_SOON_MS);
  };

  const settle = (answer: ExchangeReply['answers'][number]): void => {
    const item = held.find(answer);
    if (answer.answer !== 'accepted') {
      log.warn(
        { task: answer.task, attempt: answer.attempt, answer: answer.answer },
        'a result came too late or is not known; the server kept it aside',
      );
    }
    spool.forget(answer);
    if (item) release(item);
  };

  const release = (item: Held): void => {
    held.remove(item, number);
    executor.settled(item.task, item.attempt);
    if (held.size === 0) idleSince = now();
  };

  /** What has ended already stays: its report is due an answer of its own. */
  const drop = (attempt: { task: string; attempt: number }): void => {
    const item = held.find(attempt);
    if (!item || item.report) return;
    log.info({ task: attempt.task, attempt: attempt.attempt }, 'no longer ours: ending its program');
    item.live?.end('dropped');
    release(item);
  };

  const accept = (claim: Claim): void => {
    if (!held.isNew(claim)) return;
    const spec = specs.find(Number(claim.task.split('.')[0]));
    if (mode !== 'work' || !spec) {
      const { task, attempt, secret } = claim;
      const item = held.addSpooled({ task, attempt, secret, outcome: 'released' });
      item.spooled = false;
      return;
    }
    start(claim, spec);
  };

  const start = (claim: Claim, spec: TaskSpec): void => {
    hold(claim, executor.start(claim, spec));
  };

  const hold = (claim: Claim, live: LiveAttempt): void => {
    const item = held.addRunning(claim, live);
    void live.ended.then((report) => {
      if (held.find(item) !== item) return;
      held.setReport(item, report);
      if (failing !== undefined || (report.wallSeconds ?? 0) >= PRECIOUS_SECONDS) keep(item);
      planPump();
    });
  };

  const keep = (item: Held): void => {
    if (item.spooled || !item.report) return;
    item.spooled = true;
    void spool.keep(item.report);
  };

  // What goes wrong

  const recover = (error: unknown, current: InFlight): void => {
    const code = error instanceof PilotageError ? error.code : undefined;
    if (code !== 'stale-exchange') unsureUpTo = number;
    if (code === 'session-ended') {
      log.warn({ error: messageOf(error) }, 'the server does not know this session any more: registering anew');
      void renew();
      return;
    }
    if (code === 'stale-exchange') {
      if (inFlight.size === 0) pause(TOO_SOON_MS);
      return;
    }
    if ((code === 'bad-request' || code === 'body-too-large') && current.sent.length > 0) {
      isolate(current, messageOf(error));
      return;
    }
    const kind = code ?? 'unreachable';
    if (failing === undefined) for (const item of held.values()) keep(item);
    pause(explainFailure(error, failing === kind ? QUIET : log) ?? backoff.next());
    failing = kind;
  };

  const renew = async (): Promise<void> => {
    const old = session;
    session = undefined;
    for (const other of inFlight.values()) other.abort.abort();
    await register(old && { session: old.session, secret: old.secret });
  };

  /** A batch that the server cannot take: one by one, until the one that it cannot take is found and made plain. */
  const isolate = (current: InFlight, why: string): void => {
    const [only] = current.sent;
    batchLimit = Math.max(1, Math.floor(current.sent.length / 2));
    if (current.sent.length > 1 || !only?.report) return;
    log.error(
      { task: only.task, attempt: only.attempt, error: why },
      'the server cannot take this report: it is kept in the spool, a plain one goes in its place',
    );
    void spool
      .putAside(only.report, why)
      .catch((fault) => log.error({ error: messageOf(fault) }, 'cannot keep the report aside'));
    spool.forget(only);
    const plain = toPlainReport(only.report, why);
    if (only.report.message === plain.message) release(only);
    else only.report = plain;
  };

  const pause = (ms: number): void => {
    pausedUntil = now() + ms;
    planPump();
  };

  // The end

  const follow = (instruction: 'drain' | 'stop'): void => {
    if (mode === 'left' || mode === 'stop' || mode === instruction) return;
    log.info(
      { running: held.size },
      instruction === 'stop' ? 'ending what runs, then leaving' : 'finishing what runs, then leaving',
    );
    mode = instruction;
    if (instruction === 'stop') endAll('stopped');
    wake();
  };

  const endAll = (cause: EndCause): void => {
    const running = [...held.values()].flatMap((item) => (item.live && !item.report ? [item.live] : []));
    for (const live of running) live.end(cause);
    void Promise.all(running.map((live) => live.ended)).then(() => {
      deadline = setTimeout(giveUp, (options.lastWordsSeconds ?? 10) * 1000);
    });
  };

  const giveUp = async (): Promise<void> => {
    if (mode === 'left') return;
    const undelivered = [...held.values()].filter((item) => item.report).length;
    if (undelivered > 0)
      log.warn({ undelivered }, 'what the server has not got yet stays in the spool for the next worker here');
    await Promise.all([...held.values()].map((item) => item.report && spool.keep(item.report)));
    await leave();
  };

  const leave = async (): Promise<void> => {
    if (mode === 'left') return;
    mode = 'left';
    clearTimeout(deadline);
    clearInterval(timer);
    clearTimeout(later);
    ending.abort();
    for (const { abort } of inFlight.values()) abort.abort();
    if (session) {
      const headers = { [SESSION_HEADER]: session.secret };
      await client
        .call(workerCalls.leave, { params: { session: session.session }, headers, timeoutSeconds: 5 })
        .catch((error) => log.warn({ error: messageOf(error) }, 'could not say good-bye to the server'));
    }
    done.resolve();
  };

  // Time

  const tick = (): void => {
    ticks += 1;
    const before = now() - TICK_MS;
    for (const item of held.values()) if (item.report && item.reportedAt < before) keep(item);
    const grown = now() < followUntil && now() >= pausedUntil && output.collect();
    const isChanged =
      (ticks % PROGRESS_EVERY_TICKS === 0 && progressed()) || (ticks % MOVES_EVERY_TICKS === 0 && moved());
    if (isChanged) compareSoon();
    else if (grown) wake();
  };
  const compareSoon = (): void => {
    comparedAt = Number.NEGATIVE_INFINITY;
    wake();
  };

  const lastProgress = new WeakMap<Held, unknown>();
  const lastSite = new WeakMap<Held, unknown>();
  const progressed = (): boolean => {
    let any = false;
    for (const item of held.values()) {
      const progress = item.live?.state().progress;
      if (progress !== undefined && lastProgress.get(item) !== progress) any = true;
      lastProgress.set(item, progress);
    }
    return any;
  };
  /** Of jobs at sites: from phase to phase, or waiting for a person. */
  const moved = (): boolean => {
    let any = false;
    for (const item of held.values()) {
      const site = item.live?.state().site;
      if (site !== undefined && lastSite.get(item) !== site) any = true;
      lastSite.set(item, site);
    }
    return any;
  };

  const timer = setInterval(tick, TICK_MS);
  executor.onRoom(wake);
  for (const report of spool.found) held.addSpooled(report);
  if (held.size > 0) log.info({ reports: held.size }, 'delivering what an earlier worker had spooled');
  for (const { claim, live } of options.adopted ?? []) hold(claim, live);
  void register(options.replaces);

  return {
    done: done.promise,
    drain: () => follow('drain'),
    stop: () => follow('stop'),
    detach: () => void giveUp(),
    idleMs: () => (held.size === 0 ? now() - idleSince : 0),
  };
}
