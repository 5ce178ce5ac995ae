import { ERROR_CODES, PilotageError } from '../../ground/base/errors.ts';
import { formatTaskId, parseTaskId } from '../../ground/base/task-id.ts';
import type { Capacity } from '../core/shape.ts';
import type { Reason, ReportOutcome } from '../core/task.ts';
import { attemptSecret, sha256 } from '../store/secrets.ts';
import type { ExchangeInput, ExchangeResult, HeldKey } from '../store/verbs/exchange.ts';
import type { Answer, StoredReport } from '../store/verbs/report-attempts.ts';
import { claimExtras } from './claims.ts';
import type { Parts } from './parts.ts';
import { QUEUED, sessionTopic } from './signals.ts';
import { knowTrees, type NamedFile } from './trees.ts';

/** An exchange as it comes from the wire; see the protocol for what the fields mean. */
export interface ExchangeFacts {
  readonly number: number;
  readonly held: readonly { readonly task: string; readonly attempt: number; readonly progress?: object | undefined }[];
  readonly reports: readonly ReportFacts[];
  readonly logs?:
    | readonly {
        readonly task: string;
        readonly attempt: number;
        readonly stream: 'stdout' | 'stderr';
        readonly offset: number;
        readonly data: string;
      }[]
    | undefined;
  readonly free: Capacity;
  readonly maxClaims: number;
  readonly ahead?: number | undefined;
  readonly waitSeconds: number;
  readonly knownSpecs?: readonly number[] | undefined;
}

export interface ReportFacts {
  readonly task: string;
  readonly attempt: number;
  readonly secret: string;
  readonly outcome: ReportOutcome;
  readonly reason?: Reason | undefined;
  readonly message?: string | undefined;
  readonly exitCode?: number | undefined;
  readonly signal?: string | undefined;
  readonly startedAt?: string | undefined;
  readonly wallSeconds?: number | undefined;
  readonly cpuSeconds?: number | undefined;
  readonly peakMemory?: number | undefined;
  readonly outputs?: readonly NamedFile[] | undefined;
  readonly stdout?: LogEnd | undefined;
  readonly stderr?: LogEnd | undefined;
  readonly result?: unknown;
  readonly checkpoint?: { readonly attempt: number; readonly number: number } | undefined;
}

interface LogEnd {
  readonly size: number;
  readonly data?: string | undefined;
  readonly digest?: string | undefined;
}

export interface ExchangeAnswer {
  readonly answers: readonly { task: string; attempt: number; answer: Answer }[];
  readonly claims: readonly {
    task: string;
    attempt: number;
    secret: string;
    project: string;
    payload?: unknown;
    inputs?: unknown;
    from?: unknown;
    fault?: string;
    checkpoints?: unknown;
  }[];
  readonly specs: Readonly<Record<string, unknown>>;
  readonly drop: readonly { task: string; attempt: number }[];
  readonly instruction: 'work' | 'drain' | 'stop';
  readonly followSeconds: number;
  readonly heartbeatSeconds: number;
  readonly leaseSeconds: number;
}

type Done = Extract<ExchangeResult, { kind: 'done' }>;

/** What a session was told last, and its open poll. Lost at a restart: then it is told again. */
interface SessionMemory {
  instruction: string;
  followUntil: number;
  poll: { readonly number: number; readonly end: () => void } | undefined;
}

export interface Exchanges {
  /** Resolves when there is something to say, or after the time that the worker is willing to wait. */
  exchange(session: string, secret: string, facts: ExchangeFacts, gone: AbortSignal): Promise<ExchangeAnswer>;
  forget(session: string): void;
}

export function createExchanges(parts: Parts): Exchanges {
  const sessions = new Map<string, SessionMemory>();
  return {
    async exchange(session, secret, facts, gone) {
      const memory = memoryOf(sessions, session);
      if (memory.poll && memory.poll.number <= facts.number) memory.poll.end();
      const superseded = new AbortController();
      const poll = { number: facts.number, end: () => superseded.abort() };
      memory.poll = poll;
      try {
        await knowOutputs(parts, facts.reports);
        const ends = AbortSignal.any([gone, superseded.signal, parts.closing]);
        const done = await untilSomething(
          parts,
          toInput(parts, session, secret, facts),
          facts.waitSeconds,
          memory,
          ends,
        );
        return await toAnswer(parts, secret, facts, done);
      } finally {
        if (memory.poll === poll) memory.poll = undefined;
      }
    },
    forget: (session) => void sessions.delete(session),
  };
}

/** Directories among the outputs are looked into first, so that what they list stays with them. */
async function knowOutputs(parts: Parts, reports: readonly ReportFacts[]): Promise<void> {
  for (const { task, outputs = [] } of reports) {
    if (!outputs.some((output) => output.kind === 'tree')) continue;
    const { submission, index } = parseTaskId(task);
    const row = await parts.store.getTask({ submission, idx: index });
    if (!row) continue;
    await knowTrees(parts, row.project_id, outputs).catch((error: unknown) => {
      // A directory that cannot be read is no reason to refuse the report, or it would be sent for ever.
      if (!(error instanceof PilotageError) || ERROR_CODES[error.code] >= 500) throw error;
      parts.log.warn({ task, error: error.message }, 'an output that is a directory cannot be read');
    });
  }
}

function memoryOf(sessions: Map<string, SessionMemory>, session: string): SessionMemory {
  const memory = sessions.get(session) ?? { instruction: 'work', followUntil: 0, poll: undefined };
  sessions.set(session, memory);
  return memory;
}

async function untilSomething(
  parts: Parts,
  input: ExchangeInput,
  waitSeconds: number,
  memory: SessionMemory,
  ends: AbortSignal,
): Promise<Done> {
  const deadline = performance.now() + waitSeconds * 1000;
  let next = input;
  for (;;) {
    const woken = parts.signals.wait(
      [QUEUED, sessionTopic(input.session)],
      Math.max(0, deadline - performance.now()),
      ends,
    );
    const done = checked(await parts.store.exchange(next));
    tellOthers(parts, next, done);
    if (isNews(done, memory) || ends.aborted || performance.now() >= deadline) return done;
    if ((await woken) !== 'note') return done;
    next = { ...input, reports: [], logs: [] };
  }
}

function checked(result: ExchangeResult): Done {
  if (result.kind === 'unknown-session')
    throw new PilotageError('session-ended', 'this worker session is not known here (any more): register again');
  if (result.kind === 'stale')
    throw new PilotageError(
      'stale-exchange',
      'a newer exchange of this worker was answered already: this one changes nothing',
    );
  return result;
}

function isNews(done: Done, memory: SessionMemory): boolean {
  const told = memory.instruction === done.instruction && memory.followUntil >= done.followUntil;
  memory.instruction = done.instruction;
  memory.followUntil = Math.max(memory.followUntil, done.followUntil);
  return !told || done.answers.length > 0 || done.claims.length > 0 || done.drop.length > 0;
}

/** Those who wait for the tasks that changed, and workers for tasks that are queued again. */
function tellOthers(parts: Parts, input: ExchangeInput, done: Done): void {
  for (const log of input.logs) parts.signals.logged(formatTaskId(log.submission, log.idx));
  if (done.answers.length === 0 && done.claims.length === 0) return;
  parts.dirty();
  for (const submission of new Set(input.reports.map((report) => report.submission))) parts.signals.changed(submission);
  for (const submission of new Set(done.claims.map((claim) => claim.submission_id))) parts.signals.changed(submission);
  if (input.reports.some((report) => report.outcome !== 'succeeded')) parts.signals.queued();
}

function toInput(parts: Parts, session: string, secret: string, facts: ExchangeFacts): ExchangeInput {
  return {
    session,
    sessionSecret: secret,
    number: facts.number,
    held: facts.held.map(toHeld),
    reports: facts.reports.map(toReport),
    logs: (facts.logs ?? []).map((log) => ({
      ...keyOf(log.task),
      attempt: log.attempt,
      stream: log.stream,
      offset: log.offset,
      data: log.data,
    })),
    free: facts.free,
    ahead: facts.ahead ?? 0,
    most: facts.maxClaims,
    lease: parts.settings,
    reserveAfterMs: parts.settings.reserveAfterMs,
  };
}

function keyOf(task: string): { submission: number; idx: number } {
  const { submission, index } = parseTaskId(task);
  return { submission, idx: index };
}

function toHeld(held: ExchangeFacts['held'][number]): HeldKey {
  return { ...keyOf(held.task), attempt: held.attempt, progress: held.progress ? JSON.stringify(held.progress) : null };
}

function toReport(report: ReportFacts): StoredReport {
  return {
    ...keyOf(report.task),
    attempt: report.attempt,
    secretHash: sha256(report.secret),
    outcome: report.outcome,
    reason: report.reason ?? null,
    message: report.message ?? null,
    exitCode: report.exitCode ?? null,
    signal: report.signal ?? null,
    startedAt: report.startedAt === undefined ? null : Date.parse(report.startedAt),
    wallSeconds: report.wallSeconds ?? null,
    cpuSeconds: report.cpuSeconds ?? null,
    peakMemory: report.peakMemory ?? null,
    outputs: report.outputs && report.outputs.length > 0 ? JSON.stringify(report.outputs) : null,
    result: report.result === undefined ? null : JSON.stringify(report.result),
    digests: [
      ...(report.outputs ?? []).map((output) => output.digest),
      ...[report.stdout?.digest, report.stderr?.digest].filter((digest) => digest !== undefined),
    ],
    checkpoint: report.checkpoint ?? null,
    logs: [
      ...(report.stdout && report.stdout.size > 0 ? [toLog('stdout', report.stdout)] : []),
      ...(report.stderr && report.stderr.size > 0 ? [toLog('stderr', report.stderr)] : []),
    ],
  };
}

function toLog(stream: 'stdout' | 'stderr', log: LogEnd) {
  return { stream, size: log.size, data: log.data ?? null, digest: log.digest ?? null };
}

async function toAnswer(parts: Parts, secret: string, facts: ExchangeFacts, done: Done): Promise<ExchangeAnswer> {
  const extras = await claimExtras(parts, done.claims);
  return {
    answers: done.answers.map((answer, i) => ({
      task: facts.reports[i]?.task ?? '',
      attempt: facts.reports[i]?.attempt ?? 0,
      answer,
    })),
    claims: done.claims.map((claim) => ({
      task: formatTaskId(claim.submission_id, claim.idx),
      attempt: claim.attempt,
      secret: attemptSecret(secret, claim.submission_id, claim.idx, claim.attempt),
      project: claim.project,
      ...(claim.payload === null ? {} : { payload: JSON.parse(claim.payload) }),
      ...(claim.inputs === null ? {} : { inputs: JSON.parse(claim.inputs) }),
      ...extras.get(formatTaskId(claim.submission_id, claim.idx)),
    })),
    specs: await specsFor(parts, facts, done),
    drop: done.drop.map((key) => ({ task: formatTaskId(key.submission, key.idx), attempt: key.attempt })),
    instruction: done.instruction,
    followSeconds: Math.max(0, (done.followUntil - done.now) / 1000),
    heartbeatSeconds: parts.settings.heartbeatMs / 1000,
    leaseSeconds: parts.settings.leaseMs / 1000,
  };
}

/** A spec travels once for each submission and worker. */
async function specsFor(parts: Parts, facts: ExchangeFacts, done: Done): Promise<Record<string, unknown>> {
  const known = new Set(facts.knownSpecs ?? []);
  const ids = [...new Set(done.claims.map((claim) => claim.submission_id))].filter((id) => !known.has(id));
  if (ids.length === 0) return {};
  return Object.fromEntries((await parts.store.getSpecs({ ids })).map((row) => [row.id, JSON.parse(row.spec)]));
}
