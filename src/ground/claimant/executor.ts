/** What a claimant needs from whoever carries out its attempts: local programs, a null runner of a bench, a site agent. */
import type { Bin, Claim, HeldAttempt, LogChunk, Offer, Report } from '../protocol/exchange.ts';
import type { TaskSpec } from '../protocol/spec.ts';

/**
 * Why the claimant ends an attempt: `dropped`, it is no longer ours (cancelled, or its lease ran out): nobody wants a
 * report; `stopped`, the claimant itself ends as planned: the report says `ended` or, if it never started, `released`.
 */
export type EndCause = 'dropped' | 'stopped';

/** An attempt in execution. */
export interface LiveAttempt {
  /** Resolves once, with how it ended; never rejects. After `dropped` it may resolve with anything: nobody looks. */
  readonly ended: Promise<Report>;
  /** Ends the program, soon: `ended` resolves when nothing of it runs any more. What already ended stays as it is. */
  end(cause: EndCause): void;
  /** For heartbeats. `progress` is the same object as long as nothing changed. */
  state(): Omit<HeldAttempt, 'task' | 'attempt'>;
  /** Output that was not taken before, at most so many bytes: in full while somebody follows, else only its end. */
  takeLogs(limit: { readonly bytes: number; readonly tailOnly: boolean }): LogChunk[];
  /** A chunk that was taken did not arrive: it will be taken again. */
  returnLogs(chunk: LogChunk): void;
}

/**
 * `offer` is what new claims may use together, `claims` how many they may be: 0 when nothing fits. `ahead`: for so many
 * cpus more tasks may wait here, because they are very short. `patient`: so many wait here already that reports may
 * wait a moment too, and travel together.
 */
export interface Room {
  readonly offer: Offer;
  readonly claims: number;
  readonly ahead: number;
  readonly patient: boolean;
  /** Of a server that claims for its workers, in place of `offer`. */
  readonly bins?: readonly Bin[];
  /** So long the server may wait with an answer to this, rather than as long as a poll is open. */
  readonly waitSeconds?: number;
}

export interface Executor {
  /** Starts an attempt now, or as soon as there is room for it. */
  start(claim: Claim, spec: TaskSpec): LiveAttempt;
  room(): Room;
  /** An exchange goes out that asks for this. */
  asking?(room: Room): void;
  /** An exchange that asked for something is over: so much it brought. */
  asked?(claims: number): void;
  /** The server has the report: what was kept for it (a sandbox) may go. Also called for what was dropped. */
  settled(task: string, attempt: number): void;
  /** Tells the claimant that there is more room than before. Set by the claimant. */
  onRoom(listener: () => void): void;
}

/** Structured log lines, as pino writes them. */
export interface Log {
  debug(facts: object, text: string): void;
  info(facts: object, text: string): void;
  warn(facts: object, text: string): void;
  error(facts: object, text: string): void;
}
