import Type from 'typebox';
import { Checkpoint, CheckpointId } from './checkpoint.ts';
import { SiteState } from './job.ts';
import { MAX_BATCH } from './limits.ts';
import { Home } from './peer.ts';
import { Bytes, Count, closed, DigestText, Name, nullable, Seconds, TaskIdText, Time } from './schema.ts';
import { InputFile, TaskSpec } from './spec.ts';
import { OutputFile, Progress } from './task.ts';
import { FailureReason } from './task-state.ts';
import { ShareAddresses } from './zone.ts';

export { INLINE_LOG_BYTES, MAX_BATCH, PROTOCOL_VERSION } from './limits.ts';

/** What a worker can take: its whole, or what of it is free just now. */
export const Offer = closed({
  cpus: Count,
  memory: Bytes,
  gpus: Count,
  named: Type.Record(Type.String({ maxLength: 64 }), Count),
});
export type Offer = Type.Static<typeof Offer>;

/** Workers of a neighbour that are alike, as large as one of them is, and what they have free. */
export const Bin = closed({
  total: Offer,
  free: Offer,
  labels: Type.Record(Type.String({ maxLength: 64 }), Type.String({ maxLength: 256 })),
  remainingSeconds: nullable(Seconds),
});
export type Bin = Type.Static<typeof Bin>;

/** A worker says what it is. `kinds`: does it run commands, take bare payloads, or send jobs to sites. `endsAt`: the end of its wall time. */
export const RegisterRequest = closed({
  protocol: Type.Integer(),
  version: Type.String({ maxLength: 64 }),
  name: Type.String({ minLength: 1, maxLength: 256 }),
  host: Type.String({ maxLength: 256 }),
  pid: Count,
  zone: nullable(Type.String({ maxLength: 128 })),
  total: Offer,
  labels: Type.Record(Type.String({ maxLength: 64 }), Type.String({ maxLength: 256 })),
  kinds: Type.Array(Type.Union([Type.Literal('command'), Type.Literal('payload'), Type.Literal('site')]), {
    minItems: 1,
  }),
  /** What it runs lives elsewhere (in a batch system), and is not lost by this worker's silence: it ends by proof, or by command. */
  batchHold: Type.Optional(Type.Boolean()),
  projects: Type.Optional(Type.Array(Name)),
  remainingSeconds: nullable(Seconds),
  /** Where it serves its cache to workers of the same zone; not given when it does not. */
  share: Type.Optional(ShareAddresses),
  /** The session that this worker (the same work directory) had before it was killed: what it held is lost, unless spooled. */
  replaces: Type.Optional(
    closed({
      session: Type.String(),
      secret: Type.String(),
      /** What the worker still has of it, running or ended and spooled: these go over to the new session. */
      held: Type.Optional(
        Type.Array(closed({ task: TaskIdText, attempt: Type.Integer({ minimum: 1 }) }), { maxItems: 100_000 }),
      ),
    }),
  ),
});
export type RegisterRequest = Type.Static<typeof RegisterRequest>;

export const RegisterReply = closed({
  worker: Type.String(),
  session: Type.String(),
  secret: Type.String(),
  heartbeatSeconds: Type.Number(),
  leaseSeconds: Type.Number(),
  /** The server's clock, in milliseconds since 1970: tickets expire by it. */
  now: Type.Number(),
});
export type RegisterReply = Type.Static<typeof RegisterReply>;

const LogEnd = closed({
  size: Bytes,
  data: Type.Optional(Type.String({ description: 'base64, up to 64 KiB' })),
  digest: Type.Optional(DigestText),
});
export type LogEnd = Type.Static<typeof LogEnd>;

/**
 * How an attempt ended. `succeeded` and `failed` are the program's own; `released` gives it back unstarted;
 * `ended` says that the worker's planned end cut it off: neither is charged to the task. `lost` says that what ran it was
 * killed under it, as by a poison task: charged like a lost worker.
 */
export const Report = closed({
  task: TaskIdText,
  attempt: Type.Integer({ minimum: 1 }),
  secret: Type.String({ maxLength: 128 }),
  outcome: Type.Union([
    Type.Literal('succeeded'),
    Type.Literal('failed'),
    Type.Literal('released'),
    Type.Literal('ended'),
    Type.Literal('lost'),
  ]),
  reason: Type.Optional(FailureReason),
  message: Type.Optional(Type.String({ maxLength: 4000 })),
  exitCode: Type.Optional(Type.Integer()),
  signal: Type.Optional(Type.String({ maxLength: 32 })),
  startedAt: Type.Optional(Time),
  wallSeconds: Type.Optional(Type.Number({ minimum: 0 })),
  cpuSeconds: Type.Optional(Type.Number({ minimum: 0 })),
  peakMemory: Type.Optional(Bytes),
  outputs: Type.Optional(Type.Array(OutputFile, { maxItems: 100_000 })),
  stdout: Type.Optional(LogEnd),
  stderr: Type.Optional(LogEnd),
  result: Type.Optional(Type.Unknown()),
  /** The checkpoint that it began from. */
  checkpoint: Type.Optional(CheckpointId),
  /** Where it was. */
  site: Type.Optional(SiteState),
});
export type Report = Type.Static<typeof Report>;

/** An attempt that the worker has in its hands: running, or ended and not yet acknowledged. */
export const HeldAttempt = closed({
  task: TaskIdText,
  attempt: Type.Integer({ minimum: 1 }),
  started: Type.Optional(Type.Boolean()),
  progress: Type.Optional(Progress),
  cpuSeconds: Type.Optional(Type.Number({ minimum: 0 })),
  peakMemory: Type.Optional(Bytes),
  site: Type.Optional(SiteState),
});
export type HeldAttempt = Type.Static<typeof HeldAttempt>;

/** A piece of a running program's output, base64. */
export const LogChunk = closed({
  task: TaskIdText,
  attempt: Type.Integer({ minimum: 1 }),
  stream: Type.Union([Type.Literal('stdout'), Type.Literal('stderr')]),
  offset: Bytes,
  data: Type.String({ maxLength: 131_072 }),
});
export type LogChunk = Type.Static<typeof LogChunk>;

/**
 * The one call of a worker. `number` grows with each new exchange of a session; a repeated one is answered the same.
 * `held` names everything in the worker's hands: what the server gave out and is not held was in a reply that got
 * lost, and is given again. Where that is much it may be left out most of the time: the server compares it now and then,
 * and asks for it (`listHeld`) when it is not there. `waitSeconds` leaves the call open until there is something to say.
 */
export const ExchangeRequest = closed({
  number: Type.Integer({ minimum: 1 }),
  held: Type.Optional(Type.Array(HeldAttempt, { maxItems: 100_000 })),
  /** To be compared now: an earlier exchange got no answer, something of it is new, or it was not for a while. */
  compare: Type.Optional(Type.Boolean()),
  reports: Type.Array(Report, { maxItems: MAX_BATCH }),
  logs: Type.Optional(Type.Array(LogChunk, { maxItems: MAX_BATCH })),
  free: Offer,
  maxClaims: Type.Integer({ minimum: 0, maximum: MAX_BATCH }),
  /**
   * Tasks here are so short that fetching them one by one would take longer than running them: besides what fits now,
   * the worker takes tasks for so many cpus more. They wait at the worker, which gives back what it cannot start soon.
   */
  ahead: Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_BATCH })),
  /** Of a neighbour, in place of `free`: what it claims must fit into one of them. */
  bins: Type.Optional(Type.Array(Bin, { maxItems: 200 })),
  waitSeconds: Type.Number({ minimum: 0, maximum: 120 }),
  /** Specs that the worker still has need not be sent again. */
  knownSpecs: Type.Optional(Type.Array(Type.Integer(), { maxItems: 1000 })),
});
export type ExchangeRequest = Type.Static<typeof ExchangeRequest>;

export const Claim = closed({
  task: Type.String(),
  attempt: Type.Integer(),
  secret: Type.String(),
  project: Type.String(),
  payload: Type.Optional(Type.Unknown()),
  inputs: Type.Optional(Type.Array(InputFile)),
  /** Outputs of other tasks, named as they are to be called here. */
  from: Type.Optional(Type.Array(InputFile)),
  /** What earlier attempts left of it, newest first. */
  checkpoints: Type.Optional(Type.Array(Checkpoint)),
  /** It cannot be begun, because of this: to be reported as `input-failed`. */
  fault: Type.Optional(Type.String()),
  /** It is borrowed: this is what it is called where it belongs. */
  home: Type.Optional(Home),
});
export type Claim = Type.Static<typeof Claim>;

/** `accepted`, or why not: the report was kept aside, and the worker may forget it. */
export const ReportAnswer = closed({
  task: Type.String(),
  attempt: Type.Integer(),
  answer: Type.Union([
    Type.Literal('accepted'),
    Type.Literal('stale-attempt'),
    Type.Literal('already-finished'),
    Type.Literal('wrong-secret'),
    Type.Literal('unknown-task'),
  ]),
});
export type ReportAnswer = Type.Static<typeof ReportAnswer>;

export const ExchangeReply = closed({
  answers: Type.Array(ReportAnswer),
  claims: Type.Array(Claim),
  specs: Type.Record(Type.String(), TaskSpec),
  /** Held attempts that are no longer this worker's: end their programs. */
  drop: Type.Array(closed({ task: Type.String(), attempt: Type.Integer() })),
  instruction: Type.Union([Type.Literal('work'), Type.Literal('drain'), Type.Literal('stop')]),
  /** The next exchange is to come soon, and to name what is held. */
  listHeld: Type.Optional(Type.Boolean()),
  /** Somebody follows the output: send it as it grows, for so long. */
  followSeconds: Type.Number(),
  heartbeatSeconds: Type.Number(),
  leaseSeconds: Type.Number(),
});
export type ExchangeReply = Type.Static<typeof ExchangeReply>;
