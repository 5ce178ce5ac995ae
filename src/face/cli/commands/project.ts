import type { Command } from 'commander';
import { formatSize, parseSize } from '../../../ground/base/size.ts';
import type { ProjectUsage } from '../../../ground/protocol/blob.ts';
import type { ProjectView } from '../../../ground/protocol/project.ts';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { type Column, formatAge, formatTable, plural } from '../table.ts';
import { describeCounts } from './status.ts';

export function projectCommand(define: Define): Command {
  return define('project', 'List or create projects, see what one keeps, set how much it may', list)
    .addCommand(define('list', 'List projects', list))
    .addCommand(define('create', 'Create a project', create).argument('<name>', 'its name'))
    .addCommand(define('usage', 'Show what a project keeps, and how much it may', usage).argument('[name]', 'its name'))
    .addCommand(
      define('quota', 'Say how much a project may keep', quota)
        .argument('<name>', 'its name')
        .argument('<size>', "as in 500GiB, or 'none'"),
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

function describeUsage({
  project,
  blobs,
  bytes,
  unreferencedBlobs,
  unreferencedBytes,
  quotaBytes,
}: ProjectUsage): string {
  const of = quotaBytes === null ? 'no quota' : `of ${formatSize(quotaBytes)}`;
  const soonGone =
    unreferencedBlobs === 0
      ? ''
      : `; nothing needs ${plural(unreferencedBlobs, 'file')} (${formatSize(unreferencedBytes)}) any more, which will go`;
  return `project ${project} keeps ${plural(blobs, 'file')}, ${formatSize(bytes)} (${of})${soonGone}`;
}

function columns(now: Date): Column<ProjectView>[] {
  return [
    { title: 'PROJECT', of: ({ name }) => name },
    { title: 'OWNER', of: ({ owner }) => owner },
    { title: 'CREATED', of: ({ createdAt }) => formatAge(createdAt, now) },
    { title: 'TASKS', of: ({ counts }) => describeCounts(counts) },
  ];
}
