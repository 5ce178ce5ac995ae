import { parseTaskId } from '../../ground/base/task-id.ts';
import { sha256 } from '../store/secrets.ts';
import type { ExchangeInput, HeldKey } from '../store/verbs/exchange-input.ts';
import type { StoredReport } from '../store/verbs/stored-report.ts';
import type { ExchangeFacts, LogEnd, ReportFacts } from './exchange-facts.ts';
import type { Parts } from './parts.ts';

/** An exchange as the store takes it: times as numbers, texts as JSON, secrets as hashes. */
export function toExchangeInput(
  parts: Parts,
  session: string,
  secret: string,
  facts: ExchangeFacts,
): Omit<ExchangeInput, 'mayEnter'> {
  return {
    session,
    sessionSecret: secret,
    number: facts.number,
    held: facts.held?.map(toHeld) ?? null,
    compare: facts.compare ?? false,
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
    halfLifeMs: parts.settings.halfLifeMs,
  };
}

function keyOf(task: string): { submission: number; idx: number } {
  const { submission, index } = parseTaskId(task);
  return { submission, idx: index };
}

function toHeld(held: NonNullable<ExchangeFacts['held']>[number]): HeldKey {
  return {
    ...keyOf(held.task),
    attempt: held.attempt,
    progress: held.progress ? JSON.stringify(held.progress) : null,
    site: held.site ? JSON.stringify(held.site) : null,
  };
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
    site: report.site ? JSON.stringify(report.site) : null,
    logs: [
      ...(report.stdout && report.stdout.size > 0 ? [toLog('stdout', report.stdout)] : []),
      ...(report.stderr && report.stderr.size > 0 ? [toLog('stderr', report.stderr)] : []),
    ],
  };
}

function toLog(stream: 'stdout' | 'stderr', log: LogEnd) {
  return { stream, size: log.size, data: log.data ?? null, digest: log.digest ?? null };
}
