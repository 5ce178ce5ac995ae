import type { Command } from 'commander';
import { formatDuration } from '../../../ground/base/duration.ts';
import { formatSize } from '../../../ground/base/size.ts';
import type { CheckpointView } from '../../../ground/protocol/checkpoint.ts';
import type { AttemptView, TaskDetail } from '../../../ground/protocol/task.ts';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { defined } from '../defined.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { onlyTask } from '../only-task.ts';
import { wholeNumber } from '../option-values.ts';
import { type Column, formatAge, formatTable, plural, printable } from '../table.ts';

export function taskCommand(define: Define): Command {
  const accept = define('accept', 'Make a result that came too late the outcome of a task that failed', acceptLate)
    .argument('<task>', 'the task, as in 12.3')
    .option('--attempt <n>', 'of this attempt; the last one that was kept aside unless given', wholeNumber(1));
  return define('task', 'Show one task and its attempts', show)
    .argument('<task>', 'the task, as in 12.3')
    .addCommand(accept);
}

async function show(invocation: Invocation, _options: object, target: string): Promise<number> {
  const id = await onlyTask(invocation, target);
  const task = await invocation.client().call(calls.task, { params: { id } });
  await invocation.print(task, () => describeTask(task, invocation.context.now()));
  return EXIT.done;
}

async function acceptLate(
  invocation: Invocation,
  options: { readonly attempt?: number },
  target: string,
): Promise<number> {
  const id = await onlyTask(invocation, target);
  const task = await invocation
    .client()
    .call(calls.acceptLate, { params: { id }, body: defined({ attempt: options.attempt }) });
  await invocation.print(task, () => `${task.id} is ${task.state}: the result of attempt ${task.attempt} counts now`);
  return EXIT.done;
}

export function describeTask(task: TaskDetail, now: Date): string {
  const lines: [string, string | undefined][] = [
    ['task', `${task.id}${task.name === null ? '' : ` (${task.name})`}`],
    ['project', `${task.project}, of ${task.owner}`],
    ['state', stateOf(task, now)],
    ['message', task.message ?? undefined],
    ['command', task.spec.command?.map(quoted).join(' ')],
    ['payload', task.payload === null || task.payload === undefined ? undefined : JSON.stringify(task.payload)],
    ['submitted', formatAge(task.submittedAt, now)],
    ['not before', task.notBefore ?? undefined],
    ['priority', task.priority === 0 ? undefined : String(task.priority)],
    ['charged', chargesOf(task)],
    [
      'outputs',
      task.outputs.length === 0
        ? undefined
        : task.outputs.map(({ name, size }) => `${name} (${formatSize(size)})`).join(', '),
    ],
    ['answered', task.reusedFrom === null ? undefined : `from task ${task.reusedFrom}, which asked the same`],
    ['checkpoint', describeCheckpoint(task.checkpoints[0], now)],
    [
      'late',
      task.late.length === 0
        ? undefined
        : `${plural(task.late.length, 'result')} kept aside: 'pilotage task accept ${task.id}'`,
    ],
  ];
  const text = lines
    .filter((line): line is [string, string] => line[1] !== undefined)
    .map(([title, value]) => `${title.padEnd(10)}  ${printable(value)}\n`)
    .join('');
  return task.attempts.length === 0 ? text : `${text}\n${attemptTable(task.attempts, now)}`;
}

function stateOf({ state, reason, exitCode, signal, progress, finishedAt, startedAt }: TaskDetail, now: Date): string {
  if (state === 'running') {
    const share = progress?.fraction === undefined ? '' : `, ${Math.round(progress.fraction * 100)} %`;
    return `running since ${formatAge(startedAt, now)}${share}${progress?.message ? ` (${progress.message})` : ''}`;
  }
  const how = [reason, exitCode === null ? null : `exit code ${exitCode}`, signal].filter((part) => part !== null);
  return `${state}${finishedAt === null ? '' : ` ${formatAge(finishedAt, now)}`}${how.length === 0 ? '' : ` (${how.join(', ')})`}`;
}

function describeCheckpoint(newest: CheckpointView | undefined, now: Date): string | undefined {
  if (!newest) return undefined;
  const { attempt, number, at, files, bytes } = newest;
  return `${attempt}.${number}, ${formatAge(at, now)}: ${files.join(', ')} (${formatSize(bytes)})`;
}

function chargesOf({ failures, losses, plannedEnds }: TaskDetail): string | undefined {
  if (failures + losses + plannedEnds === 0) return undefined;
  return `${plural(failures, 'failure')}, ${plural(losses, 'lost worker')}, ${plural(plannedEnds, 'planned end')}`;
}

function attemptTable(attempts: readonly AttemptView[], now: Date): string {
  const seconds = (value: number | null): string => (value === null ? '-' : formatDuration(value));
  const columns: Column<AttemptView>[] = [
    { title: 'ATTEMPT', of: ({ attempt }) => String(attempt), align: 'right' },
    { title: 'OUTCOME', of: ({ outcome, reason }) => (reason === null ? outcome : `${outcome}: ${reason}`) },
    { title: 'HOST', of: ({ host, worker }) => host ?? worker ?? '-' },
    { title: 'STARTED', of: ({ startedAt }) => formatAge(startedAt, now) },
    { title: 'WALL', of: ({ wallSeconds }) => seconds(wallSeconds), align: 'right' },
    { title: 'CPU', of: ({ cpuSeconds }) => seconds(cpuSeconds), align: 'right' },
    { title: 'MEMORY', of: ({ peakMemory }) => (peakMemory === null ? '-' : formatSize(peakMemory)), align: 'right' },
    {
      title: 'EXIT',
      of: ({ exitCode, signal }) => signal ?? (exitCode === null ? '-' : String(exitCode)),
      align: 'right',
    },
  ];
  return formatTable(columns, attempts);
}

function quoted(word: string): string {
  return /^[\w@%+=:,./{}-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
