import { type Command, Option } from 'commander';
import { PilotageError } from '../../../ground/base/errors.ts';
import { parseTarget } from '../../../ground/base/task-id.ts';
import type { TaskView } from '../../../ground/protocol/task.ts';
import type { TaskStatus } from '../../../ground/protocol/task-state.ts';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { defined } from '../defined.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { wholeNumber } from '../option-values.ts';
import { printJsonList } from '../output.ts';
import { type Column, formatAge, formatTable, STATES } from '../table.ts';

interface Options {
  readonly project?: string;
  readonly state?: TaskStatus;
  readonly limit?: number;
}

const PAGE = 1000;
/** What a person is shown unless they ask for more. */
const SHOWN = 100;

export function tasksCommand(define: Define): Command {
  return define('tasks', 'List tasks', tasks)
    .argument('[submission]', 'only those of this submission')
    .option('-p, --project <name>', 'only those of this project')
    .addOption(new Option('-s, --state <state>', 'only those in this state').choices(STATES))
    .option('--limit <n>', `at most so many; ${SHOWN} unless given, with --json all`, wholeNumber(1));
}

async function tasks(invocation: Invocation, options: Options, submission: string | undefined): Promise<number> {
  const query = { ...defined({ project: options.project, state: options.state }), ...submissionOf(submission) };
  const limit = options.limit ?? (invocation.json ? Number.POSITIVE_INFINITY : SHOWN);
  if (invocation.json) {
    await printJsonList(invocation.context.stdout, listTasks(invocation, query, limit));
    return EXIT.done;
  }
  const found: TaskView[] = [];
  for await (const task of listTasks(invocation, query, limit + 1)) found.push(task);
  await invocation.print(found, () => taskTable(found.slice(0, limit), invocation.context.now()));
  if (found.length > limit) await invocation.say(`there are more than these ${limit}: --limit shows more`);
  return EXIT.done;
}

type Query = { readonly project?: string; readonly state?: TaskStatus; readonly submission?: number };

async function* listTasks(invocation: Invocation, query: Query, limit: number): AsyncIterable<TaskView> {
  let left = limit;
  let after: string | null = null;
  do {
    const page: { tasks: TaskView[]; next: string | null } = await invocation
      .client()
      .call(calls.tasks, { query: { ...query, limit: Math.min(PAGE, left), ...(after === null ? {} : { after }) } });
    yield* page.tasks.slice(0, left);
    left -= page.tasks.length;
    after = page.next;
  } while (after !== null && left > 0);
}

function submissionOf(text: string | undefined): { submission?: number } {
  if (text === undefined) return {};
  const { submission, index } = parseTarget(text);
  if (index === undefined) return { submission };
  throw new PilotageError('bad-request', `'${text}' is a task: 'pilotage task ${text}' shows it`);
}

function taskTable(found: readonly TaskView[], now: Date): string {
  if (found.length === 0) return 'no tasks';
  const columns: Column<TaskView>[] = [
    { title: 'TASK', of: (task) => task.id },
    { title: 'PROJECT', of: (task) => task.project },
    { title: 'NAME', of: (task) => task.name ?? '-' },
    { title: 'STATE', of: (task) => task.state },
    { title: 'ATTEMPT', of: (task) => String(task.attempt), align: 'right' },
    { title: 'CHANGED', of: (task) => formatAge(task.finishedAt ?? task.startedAt ?? task.submittedAt, now) },
    { title: 'DETAIL', of: detailOf },
  ];
  return formatTable(columns, found);
}

function detailOf({ state, reason, exitCode, progress, worker }: TaskView): string {
  if (state === 'failed') return exitCode === null || exitCode === 0 ? (reason ?? '') : `${reason} ${exitCode}`;
  if (state !== 'running') return '';
  const share = progress?.fraction === undefined ? '' : `${Math.round(progress.fraction * 100)} % `;
  return `${share}${progress?.message ?? ''}`.trim() || (worker === null ? '' : `on ${worker}`);
}
