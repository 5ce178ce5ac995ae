import type { Command } from 'commander';
import type { ProjectView } from '../../../ground/protocol/project.ts';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { type Column, formatAge, formatTable } from '../table.ts';
import { describeCounts } from './status.ts';

export function projectCommand(define: Define): Command {
  return define('project', 'List or create projects', list)
    .addCommand(define('list', 'List projects', list))
    .addCommand(define('create', 'Create a project', create).argument('<name>', 'its name'));
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

function columns(now: Date): Column<ProjectView>[] {
  return [
    { title: 'PROJECT', of: ({ name }) => name },
    { title: 'OWNER', of: ({ owner }) => owner },
    { title: 'CREATED', of: ({ createdAt }) => formatAge(createdAt, now) },
    { title: 'TASKS', of: ({ counts }) => describeCounts(counts) },
  ];
}
