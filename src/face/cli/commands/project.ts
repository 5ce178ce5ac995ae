import path from 'node:path';
import type { Command } from 'commander';
import { formatDuration, parseDuration } from '../../../ground/base/duration.ts';
import { PilotageError } from '../../../ground/base/errors.ts';
import { formatSize, parseSize } from '../../../ground/base/size.ts';
import type { ProjectUsage } from '../../../ground/protocol/blob.ts';
import type { ProjectView } from '../../../ground/protocol/project.ts';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { couchdbUrl, describeFiles, requirePrivate, writePicasConfig } from '../picas-config.ts';
import { type Column, formatAge, formatTable, plural } from '../table.ts';
import { projectExportCommand, projectImportCommand } from './project-copies.ts';
import { memberCommands } from './project-members.ts';
import { projectLimitCommand } from './shares.ts';
import { describeCounts } from './status.ts';

export function projectCommand(define: Define): Command {
  const [members, grant, revoke, transfer] = memberCommands(define);
  return define(
    'project',
    'List or create projects, say who may enter one, see what it keeps, how much it may and how many of its tasks may run, export and import them',
    list,
  )
    .addCommand(define('list', 'List projects', list))
    .addCommand(define('create', 'Create a project', create).argument('<name>', 'its name'))
    .addCommand(members)
    .addCommand(grant)
    .addCommand(revoke)
    .addCommand(transfer)
    .addCommand(define('usage', 'Show what a project keeps, and how much it may', usage).argument('[name]', 'its name'))
    .addCommand(
      define('quota', 'Say how much a project may keep', quota)
        .argument('<name>', 'its name')
        .argument('<size>', "as in 500GiB, or 'none'"),
    )
    .addCommand(projectLimitCommand(define))
    .addCommand(
      define('set', 'Say how PiCaS clients may hold tokens of a project', set)
        .argument('<name>', 'its name')
        .option(
          '--max-lock-age <duration>',
          "a token whose client is silent for so long is given back; 'usual': as everywhere",
        )
        .option('--max-scrubs <n>', "so often, then it is in error; 'usual': as everywhere"),
    )
    .addCommand(projectExportCommand(define))
    .addCommand(projectImportCommand(define))
    .addCommand(
      define('credentials', 'Make a user name and a new password for PiCaS clients, as a picasconfig.py', credentials)
        .argument('<name>', "the project's name")
        .option('--to <dir>', 'where it is written: a directory of mode 0700, made if missing; ./picas_cfg unless told')
        .option('--url <url>', 'the address that clients are to use, where it is another one'),
    );
}

async function list(invocation: Invocation): Promise<number> {
  const projects = await invocation.client().call(calls.projects);
  await invocation.printList(projects, () => formatTable(columns(invocation.context.now()), projects));
  return EXIT.done;
}

async function create(invocation: Invocation, _options: object, name: string): Promise<number> {
  const project = await invocation.client().call(calls.createProject, { body: { name } });
  await invocation.print(project, () => `project ${project.name} is there`);
  return EXIT.done;
}

async function usage(invocation: Invocation, _options: object, name: string | undefined): Promise<number> {
  const project = name ?? (invocation.context.env.PILOTAGE_PROJECT || 'default');
  const used = await invocation.client().call(calls.projectUsage, { params: { project } });
  await invocation.print(used, () => describeUsage(used));
  return EXIT.done;
}

async function quota(invocation: Invocation, _options: object, project: string, size: string): Promise<number> {
  const bytes = size === 'none' ? null : parseSize(size);
  const used = await invocation.client().call(calls.setQuota, { params: { project }, body: { bytes } });
  await invocation.print(used, () => describeUsage(used));
  return EXIT.done;
}

async function set(
  invocation: Invocation,
  { maxLockAge, maxScrubs }: { maxLockAge?: string; maxScrubs?: string },
  project: string,
): Promise<number> {
  if (maxLockAge === undefined && maxScrubs === undefined)
    throw new PilotageError('bad-request', 'nothing is to be set: give --max-lock-age, --max-scrubs, or both');
  const body = {
    ...(maxLockAge === undefined
      ? {}
      : { maxLockAgeSeconds: maxLockAge === 'usual' ? null : parseDuration(maxLockAge) }),
    ...(maxScrubs === undefined ? {} : { maxScrubs: maxScrubs === 'usual' ? null : readCount(maxScrubs) }),
  };
  const limits = await invocation.client().call(calls.setTokenLimits, { params: { project }, body });
  await invocation.print(
    limits,
    () =>
      `project ${project}: a token whose client is silent for ${formatDuration(limits.maxLockAgeSeconds)} is given back, at most ${plural(limits.maxScrubs, 'time')}`,
  );
  return EXIT.done;
}

function readCount(text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new PilotageError('bad-request', `--max-scrubs is '${text}': give a whole number from 1 on`);
}

async function credentials(
  invocation: Invocation,
  options: { to?: string; url?: string },
  project: string,
): Promise<number> {
  const directory = path.resolve(invocation.context.cwd, options.to ?? 'picas_cfg');
  requirePrivate(directory);
  const made = await invocation.client().call(calls.makeCredentials, { params: { project } });
  const url = options.url ?? couchdbUrl(made, invocation.address().url);
  const files = writePicasConfig(directory, { ...made, url });
  const { password: _password, certificate: _certificate, ...shown } = made;
  await invocation.print({ ...shown, url, files }, () => describeFiles(project, made.user, url, files));
  return EXIT.done;
}

function describeUsage({
  project,
  blobs,
  bytes,
  unreferencedBlobs,
  unreferencedBytes,
  quotaBytes,
  runningTasks,
  runningLimit,
}: ProjectUsage): string {
  const of = quotaBytes === null ? 'no quota' : `of ${formatSize(quotaBytes)}`;
  const most = runningLimit === null ? '' : ` of at most ${runningLimit}`;
  const soonGone =
    unreferencedBlobs === 0
      ? ''
      : `; nothing needs ${plural(unreferencedBlobs, 'file')} (${formatSize(unreferencedBytes)}) any more, which will go`;
  return `project ${project} keeps ${plural(blobs, 'file')}, ${formatSize(bytes)} (${of})${soonGone}; ${plural(runningTasks, 'task')} running${most}`;
}

function columns(now: Date): Column<ProjectView>[] {
  return [
    { title: 'PROJECT', of: ({ name }) => name },
    { title: 'OWNER', of: ({ owner }) => owner },
    { title: 'CREATED', of: ({ createdAt }) => formatAge(createdAt, now) },
    { title: 'TASKS', of: ({ counts }) => describeCounts(counts) },
  ];
}
