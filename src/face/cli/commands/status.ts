import type { Command } from 'commander';
import { PilotageError } from '../../../ground/base/errors.ts';
import { parseTarget } from '../../../ground/base/task-id.ts';
import type { StatusView } from '../../../ground/protocol/project.ts';
import type { SubmissionView } from '../../../ground/protocol/submission.ts';
import type { StateCounts } from '../../../ground/protocol/task-state.ts';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { defined } from '../defined.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { type Column, formatAge, formatTable, plural, STATES } from '../table.ts';

const LATEST = 10;

export function statusCommand(define: Define): Command {
  return define('status', 'The pool at a glance, or some submissions', status)
    .argument('[submissions...]', 'their numbers')
    .option('-p, --project <name>', 'only this project');
}

async function status(invocation: Invocation, options: { readonly project?: string }, ids: string[]): Promise<number> {
  if (ids.length > 0) await showSubmissions(invocation, ids);
  else await showPool(invocation, options.project);
  return EXIT.done;
}

async function showPool(invocation: Invocation, project: string | undefined): Promise<void> {
  const client = invocation.client();
  const view = await client.call(calls.status, { query: defined({ project }) });
  if (invocation.json) return invocation.print(view, () => '');
  const latest = await client.call(calls.submissions, { query: { limit: LATEST, ...defined({ project }) } });
  await invocation.print(
    view,
    () => `${describePool(view, invocation.context.now())}\n${submissionTable(latest, invocation.context.now())}`,
  );
}

async function showSubmissions(invocation: Invocation, ids: readonly string[]): Promise<void> {
  const views: SubmissionView[] = [];
  for (const id of ids)
    views.push(await invocation.client().call(calls.submission, { params: { id: submissionOf(id) } }));
  const text = (): string => submissionTable(views, invocation.context.now());
  await (ids.length === 1 ? invocation.print(views[0], text) : invocation.printList(views, text));
}

function submissionOf(id: string): number {
  const { submission, index } = parseTarget(id);
  if (index === undefined) return submission;
  throw new PilotageError('bad-request', `'${id}' is a task: 'pilotage task ${id}' shows it`);
}

function describeNeighbours({ neighbours }: StatusView): string[] {
  if (!neighbours) return [];
  const { connected, unreachable } = neighbours;
  const lost = unreachable.length === 0 ? '' : `, ${unreachable.length} unreachable (${unreachable.join(', ')})`;
  return [`neighbour ${connected} connected${lost}`];
}

function describePool(view: StatusView, now: Date): string {
  const { alive, draining, cpus, busyCpus } = view.workers;
  return [
    `server    ${view.version}, ${view.database === 'sqlite' ? 'SQLite' : 'PostgreSQL'}, started ${formatAge(view.startedAt, now)}`,
    `workers   ${alive} alive${draining > 0 ? `, ${draining} draining` : ''}; ${busyCpus} of ${plural(cpus, 'cpu')} busy`,
    ...describeNeighbours(view),
    `tasks     ${describeCounts(view.counts)}`,
    `          in ${plural(view.submissions, 'submission')}`,
    '',
  ].join('\n');
}

export function describeCounts(counts: StateCounts): string {
  const present = STATES.filter((state) => counts[state] > 0);
  return present.length === 0
    ? 'none'
    : present.map((state) => `${counts[state].toLocaleString('en')} ${state}`).join(', ');
}

function submissionTable(views: readonly SubmissionView[], now: Date): string {
  if (views.length === 0) return "nothing has been submitted yet: 'pilotage submit' does\n";
  const columns: Column<SubmissionView>[] = [
    { title: 'ID', of: (view) => String(view.id), align: 'right' },
    { title: 'PROJECT', of: (view) => view.project },
    { title: 'NAME', of: (view) => view.name ?? '-' },
    { title: 'TASKS', of: (view) => String(view.tasks), align: 'right' },
    { title: 'SUBMITTED', of: (view) => formatAge(view.submittedAt, now) },
    { title: 'STATES', of: (view) => describeCounts(view.counts) },
  ];
  return formatTable(columns, views);
}
