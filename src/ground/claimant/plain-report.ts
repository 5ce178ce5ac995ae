import type { Report } from '../protocol/exchange.ts';

/** The same end, without what made it unacceptable. */
export function toPlainReport(report: Report, why: string): Report {
  const { task, attempt, secret, outcome, reason, exitCode, wallSeconds } = report;
  const message = `the server could not take the report of this attempt: ${why}`.slice(0, 4000);
  const failed: Pick<Report, 'outcome' | 'reason'> = { outcome: 'failed', reason: reason ?? 'output-failed' };
  return {
    task,
    attempt,
    secret,
    message,
    ...(outcome === 'ended' || outcome === 'released' ? { outcome } : failed),
    ...(exitCode === undefined ? {} : { exitCode }),
    ...(wallSeconds === undefined ? {} : { wallSeconds }),
  };
}
