import { ERROR_CODES, PilotageError } from '../../ground/base/errors.ts';
import { formatTaskId, parseTaskId } from '../../ground/base/task-id.ts';
import type { Principal } from '../access/principal.ts';
import { attemptSecret } from '../store/secrets.ts';
import type { ExchangeResult } from '../store/verbs/exchange.ts';
import type { ExchangeInput } from '../store/verbs/exchange-input.ts';
import type { ClaimExtras } from './claims.ts';
import type { ExchangeAnswer, ExchangeFacts, ReportFacts } from './exchange-facts.ts';
import type { Parts } from './parts.ts';
import { QUEUED, sessionTopic } from './signals.ts';
import { toExchangeInput } from './to-exchange-input.ts';
import { knowTrees } from './trees.ts';

export type { ExchangeFacts } from './exchange-facts.ts';

type Done = Extract<ExchangeResult, { kind: 'done' }>;

/** What a session was told last, and its open poll. Lost at a restart: then it is told again. */
interface SessionMemory {
  instruction: string;
  followUntil: number;
  poll: { readonly number: number; readonly end: () => void } | undefined;
}

export interface Exchanges {
  /** Resolves when there is something to say, or after the time that the worker is willing to wait. */
  exchange(
    asking: { readonly session: string; readonly secret: string; readonly who: Pick<Principal, 'peer' | 'projects'> },
    facts: ExchangeFacts,
    gone: AbortSignal,
  ): Promise<ExchangeAnswer>;
  forget(session: string): void;
}

export function createExchanges(parts: Parts): Exchanges {
  const sessions = new Map<string, SessionMemory>();
  return {
    async exchange({ session, secret, who: { peer, projects } }, facts, gone) {
      const memory = memoryOf(sessions, session);
      if (memory.poll && memory.poll.number <= facts.number) memory.poll.end();
      const superseded = new AbortController();
      const poll = { number: facts.number, end: () => superseded.abort() };
      memory.poll = poll;
      try {
        await knowOutputs(parts, facts.reports);
        const ends = AbortSignal.any([gone, superseded.signal, parts.closing]);
        const neighbour = peer && { bins: facts.bins ?? [], projects: peer.projectIds };
        const input = {
          ...toExchangeInput(parts, session, secret, facts),
          mayEnter: peer ? null : projects,
          neighbour,
        };
        const passedOn = peer && facts.bins ? parts.neighbours.asks({ peer: peer.id, bins: facts.bins }) : undefined;
        const done = await untilSomething(parts, input, facts.waitSeconds, memory, ends).finally(() => passedOn?.());
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
    next = { ...input, reports: [], logs: [], compare: false };
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
  return !told || done.listHeld || done.answers.length > 0 || done.claims.length > 0 || done.drop.length > 0;
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

/** Most tasks have neither files of others nor checkpoints: what looks for these is loaded when it is wanted. */
async function extrasOf(parts: Parts, done: Done): Promise<ReadonlyMap<string, ClaimExtras>> {
  if (done.claims.every((claim) => claim.extras === 0)) return new Map();
  const { claimExtras } = await import('./claims.ts');
  return claimExtras(parts, done.claims);
}

function tellAnswered(parts: Parts, claims: Done['claims']): void {
  parts.dirty();
  for (const submission of new Set(claims.map((claim) => claim.submission_id))) parts.signals.changed(submission);
}

async function toAnswer(parts: Parts, secret: string, facts: ExchangeFacts, done: Done): Promise<ExchangeAnswer> {
  const extras = await extrasOf(parts, done);
  const key = (claim: Done['claims'][number]): string => formatTaskId(claim.submission_id, claim.idx);
  const answered = done.claims.filter((claim) => extras.get(key(claim))?.answered);
  if (answered.length > 0) tellAnswered(parts, answered);
  const claims = done.claims.filter((claim) => !answered.includes(claim));
  return {
    answers: done.answers.map((answer, i) => ({
      task: facts.reports[i]?.task ?? '',
      attempt: facts.reports[i]?.attempt ?? 0,
      answer,
    })),
    claims: claims.map((claim) => ({
      task: key(claim),
      attempt: claim.attempt,
      secret: attemptSecret(secret, claim.submission_id, claim.idx, claim.attempt),
      project: claim.project,
      ...(claim.payload === null ? {} : { payload: JSON.parse(claim.payload) }),
      ...(claim.inputs === null ? {} : { inputs: JSON.parse(claim.inputs) }),
      ...extras.get(key(claim)),
    })),
    specs: await specsFor(parts, facts, done),
    drop: done.drop.map((key) => ({ task: formatTaskId(key.submission, key.idx), attempt: key.attempt })),
    instruction: done.instruction,
    ...(done.listHeld ? { listHeld: true } : {}),
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
