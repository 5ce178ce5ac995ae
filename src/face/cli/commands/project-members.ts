import type { Command } from 'commander';
import type { ProjectMembers } from '../../../ground/protocol/project.ts';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { type Column, formatAge, formatTable } from '../table.ts';

/** Who may enter a project: `project members`, `grant`, `revoke` and `transfer`. */
export function memberCommands(define: Define): [Command, Command, Command, Command] {
  const on = (command: Command) => command.argument('<project>', "the project's name");
  const withUser = (command: Command) => on(command).argument('<user>', 'a user');
  return [
    on(define('members', 'List who may enter a project', members)),
    withUser(define('grant', 'Let a user into a project', grant)),
    withUser(define('revoke', 'Let a user no longer into a project', revoke)),
    withUser(define('transfer', 'Give a project to another owner; the one before stays a member', transfer)),
  ];
}

async function members(invocation: Invocation, _options: object, project: string): Promise<number> {
  const view = await invocation.client().call(calls.projectMembers, { params: { project } });
  await invocation.print(view, () => formatTable(columns(invocation.context.now()), rowsOf(view)));
  return EXIT.done;
}

async function grant(invocation: Invocation, _options: object, project: string, user: string): Promise<number> {
  const view = await invocation.client().call(calls.grantProject, { params: { project, user } });
  await invocation.print(view, () => `${user} may enter project ${project}`);
  return EXIT.done;
}

async function revoke(invocation: Invocation, _options: object, project: string, user: string): Promise<number> {
  const view = await invocation.client().call(calls.revokeProject, { params: { project, user } });
  await invocation.print(view, () => `${user} may not enter project ${project} any more`);
  return EXIT.done;
}

async function transfer(invocation: Invocation, _options: object, project: string, to: string): Promise<number> {
  const view = await invocation.client().call(calls.transferProject, { params: { project }, body: { to } });
  await invocation.print(view, () => `project ${project} belongs to ${view.owner}`);
  return EXIT.done;
}

interface Row {
  readonly user: string;
  readonly as: string;
  readonly by: string;
  readonly since: string | null;
}

function rowsOf({ owner, members }: ProjectMembers): Row[] {
  return [
    { user: owner, as: 'owner', by: '-', since: null },
    ...members.map(({ user, grantedBy, grantedAt }) => ({ user, as: 'member', by: grantedBy, since: grantedAt })),
  ];
}

function columns(now: Date): Column<Row>[] {
  return [
    { title: 'USER', of: ({ user }) => user },
    { title: 'AS', of: ({ as }) => as },
    { title: 'GRANTED BY', of: ({ by }) => by },
    { title: 'SINCE', of: ({ since }) => formatAge(since, now) },
  ];
}
