import type { Command } from 'commander';
import { PilotageError } from '../../../ground/base/errors.ts';
import { formatSize, parseSize } from '../../../ground/base/size.ts';
import type { ShareView } from '../../../ground/protocol/share.ts';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { defined } from '../defined.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { type Column, formatTable } from '../table.ts';

const RUNNING = ['--running <n>', "so many tasks at once, or 'none'"] as const;

/** What users get among each other: `user weight`, `user limit` and `user usage`. */
export function shareCommands(define: Define): [Command, Command, Command] {
  const named = (command: Command) =>
    command.argument('<name>', "the user's name, or that of a token that is nobody's");
  return [
    named(
      define('weight', 'Say how much a user gets beside others: twice the weight, twice the slots', weight),
    ).argument('<n>', '1 is what everybody has'),
    named(define('limit', 'Say how many tasks of a user may run at once, and how much the user may keep', limit))
      .option(...RUNNING)
      .option('--storage <size>', "in all projects that the user owns, as in 500GiB, or 'none'"),
    define('usage', 'Show who has had how much of late, runs how much and keeps how much', usage),
  ];
}

export function projectLimitCommand(define: Define): Command {
  return define('limit', 'Say how many tasks of a project may run at once', projectLimit)
    .argument('<name>', 'its name')
    .requiredOption(...RUNNING);
}

async function weight(invocation: Invocation, _options: object, user: string, text: string): Promise<number> {
  const n = Number(text);
  if (!(n >= 0.001 && n <= 1_000_000))
    throw new PilotageError('bad-request', `a weight is a number from 0.001 on, as in 2 or 0.5: '${text}' is none`);
  const view = await invocation.client().call(calls.setShare, { params: { user }, body: { weight: n } });
  await invocation.print(view, () => `${user} has the weight ${view.weight}`);
  return EXIT.done;
}

async function limit(
  invocation: Invocation,
  { running, storage }: { readonly running?: string; readonly storage?: string },
  user: string,
): Promise<number> {
  if (running === undefined && storage === undefined)
    throw new PilotageError('bad-request', 'nothing is to be set: give --running, --storage, or both');
  const body = defined({
    runningLimit: running === undefined ? undefined : readLimit(running),
    storageLimit: storage === undefined ? undefined : storage === 'none' ? null : parseSize(storage),
  });
  const view = await invocation.client().call(calls.setShare, { params: { user }, body });
  await invocation.print(view, () => describeLimits(view));
  return EXIT.done;
}

async function usage(invocation: Invocation): Promise<number> {
  const views = await invocation.client().call(calls.usage);
  await invocation.printList(views, () => formatTable(COLUMNS, views));
  return EXIT.done;
}

async function projectLimit(
  invocation: Invocation,
  { running }: { readonly running: string },
  project: string,
): Promise<number> {
  const body = { running: readLimit(running) };
  const used = await invocation.client().call(calls.setProjectLimit, { params: { project }, body });
  await invocation.print(
    used,
    () =>
      `project ${project} may have ${used.runningLimit ?? 'any number of'} tasks running, and has ${used.runningTasks}`,
  );
  return EXIT.done;
}

function readLimit(text: string): number | null {
  if (text === 'none') return null;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new PilotageError('bad-request', `--running is '${text}': give a whole number, or 'none'`);
}

function describeLimits({ name, runningTasks, runningLimit, storedBytes, storageLimit }: ShareView): string {
  const storage = storageLimit === null ? 'any amount' : formatSize(storageLimit);
  return [
    `${name} may have ${runningLimit ?? 'any number of'} tasks running, and has ${runningTasks};`,
    `may keep ${storage}, and keeps ${formatSize(storedBytes)}`,
  ].join(' ');
}

const COLUMNS: Column<ShareView>[] = [
  { title: 'USER', of: ({ name }) => name },
  { title: 'WEIGHT', of: ({ weight: of }) => String(of) },
  { title: 'CPU HOURS OF LATE', of: ({ cpuSeconds }) => (cpuSeconds / 3600).toFixed(2) },
  { title: 'RUNNING', of: ({ runningTasks, runningLimit }) => ofLimit(String(runningTasks), runningLimit) },
  { title: 'CPUS', of: ({ runningCpus }) => String(runningCpus) },
  {
    title: 'KEEPS',
    of: ({ storedBytes, storageLimit }) =>
      ofLimit(formatSize(storedBytes), storageLimit === null ? null : formatSize(storageLimit)),
  },
];

function ofLimit(has: string, limit: string | number | null): string {
  return limit === null ? has : `${has} of ${limit}`;
}
