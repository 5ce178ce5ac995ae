import type { Command } from 'commander';
import type { AuditView } from '../../../ground/protocol/audit.ts';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { defined } from '../defined.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { wholeNumber } from '../option-values.ts';
import { parsePastTime } from '../submission/point-in-time.ts';
import { type Column, formatTable } from '../table.ts';

interface Options {
  readonly user?: string;
  readonly action?: string;
  readonly since?: string;
  readonly until?: string;
  readonly limit: number;
}

const PAGE = 1000;

export function auditCommand(define: Define): Command {
  return define('audit', 'Show who did what, as an administrator; the newest last', audit)
    .option('--user <name>', 'only what this user did')
    .option('--action <action>', "only this, as in project.grant, or 'project' for all that was done to projects")
    .option('--since <time>', "from then on: '2026-11-30 18:00', or '2d' for the last two days")
    .option('--until <time>', 'before then')
    .option('--limit <n>', 'so many of the newest', wholeNumber(1), 100);
}

async function audit(invocation: Invocation, options: Options): Promise<number> {
  const now = invocation.context.now();
  const query = defined({
    user: options.user,
    action: options.action,
    since: options.since === undefined ? undefined : parsePastTime(options.since, now),
    until: options.until === undefined ? undefined : parsePastTime(options.until, now),
  });
  const entries: AuditView[] = [];
  for (let before: number | null | undefined; before !== null && entries.length < options.limit; ) {
    const limit = Math.min(PAGE, options.limit - entries.length);
    const page = await invocation.client().call(calls.audit, { query: { ...query, limit, ...defined({ before }) } });
    entries.push(...page.entries);
    before = page.next;
  }
  entries.reverse();
  await invocation.printList(entries, () =>
    entries.length === 0 ? 'nothing was done' : formatTable(COLUMNS, entries),
  );
  return EXIT.done;
}

const COLUMNS: Column<AuditView>[] = [
  { title: 'TIME', of: ({ at }) => at.replace(/\.\d+Z$/, 'Z') },
  { title: 'WHO', of: ({ who }) => who },
  { title: 'BY', of: ({ how }) => how },
  { title: 'FROM', of: ({ address }) => address ?? '-' },
  { title: 'DID', of: ({ action, outcome, times }) => `${action}${outcome === 'refused' ? ` refused ${times}x` : ''}` },
  { title: 'TO', of: ({ subject }) => subject },
  { title: '', of: ({ detail }) => (Object.keys(detail).length === 0 ? '' : JSON.stringify(detail)) },
];
