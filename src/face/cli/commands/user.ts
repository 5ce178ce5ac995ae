import type { Command } from 'commander';
import { PilotageError } from '../../../ground/base/errors.ts';
import { formatSize } from '../../../ground/base/size.ts';
import type { Role, UserView } from '../../../ground/protocol/user.ts';
import { passwordSource } from '../ask-password.ts';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { defined } from '../defined.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { hintOf } from '../nearest.ts';
import { type Column, formatAge, formatTable, plural } from '../table.ts';
import { shareCommands } from './shares.ts';

const ROLES: Readonly<Record<Role, true>> = { administrator: true, regular: true };
const PASSWORD_FILE = 'a file of mode 0600 with the password, which is asked for unless given';

export function userCommand(define: Define): Command {
  const named = (command: Command) => command.argument('<name>', "the user's name");
  const [weight, limit, usage] = shareCommands(define);
  return define('user', 'List, add or remove users, change roles and passwords, say how much each gets', list)
    .addCommand(define('list', 'List users', list))
    .addCommand(
      named(define('add', 'Add a user', add))
        .option('--role <role>', 'administrator or regular', 'regular')
        .option('--password-file <file>', PASSWORD_FILE),
    )
    .addCommand(
      named(define('remove', 'Remove a user, with logins, tokens and grants', remove)).option(
        '--transfer-to <user>',
        'who gets the projects of that user',
      ),
    )
    .addCommand(
      named(define('role', 'Make a user an administrator or a regular one', role)).argument(
        '<role>',
        'administrator or regular',
      ),
    )
    .addCommand(
      define('password', "Change a password: your own, or as an administrator anybody's", password)
        .argument('[name]', "the user's name; your own unless given")
        .option('--password-file <file>', 'a file of mode 0600 with the new password, which is asked for unless given')
        .option('--current-file <file>', 'a file of mode 0600 with the one that you have now'),
    )
    .addCommand(weight)
    .addCommand(limit)
    .addCommand(usage);
}

async function list(invocation: Invocation): Promise<number> {
  const users = await invocation.client().call(calls.users);
  await invocation.printList(users, () => formatTable(columns(invocation.context.now()), users));
  return EXIT.done;
}

async function add(
  invocation: Invocation,
  options: { readonly role: string; readonly passwordFile?: string },
  name: string,
): Promise<number> {
  const source = passwordSource(invocation.context);
  try {
    const given = await source.askNew(`password for ${name}`, options.passwordFile);
    const body = { name, role: toRole(options.role), password: given };
    const user = await invocation.client().call(calls.addUser, { body });
    await invocation.print(user, () => `user ${user.name} (${user.role}) is there`);
    return EXIT.done;
  } finally {
    source.close();
  }
}

async function remove(
  invocation: Invocation,
  { transferTo }: { readonly transferTo?: string },
  user: string,
): Promise<number> {
  const removed = await invocation
    .client()
    .call(calls.removeUser, { params: { user }, query: defined({ transferTo }) });
  const went = removed.transferred.length > 0 ? `; ${transferTo} owns ${removed.transferred.join(', ')} now` : '';
  await invocation.print(removed, () => `user ${user} is removed${went}`);
  return EXIT.done;
}

async function role(invocation: Invocation, _options: object, name: string, wanted: string): Promise<number> {
  const body = { role: toRole(wanted) };
  const user = await invocation.client().call(calls.setRole, { params: { user: name }, body });
  await invocation.print(
    user,
    () => `user ${user.name} is ${user.role === 'regular' ? 'a regular user' : 'an administrator'}`,
  );
  return EXIT.done;
}

async function password(
  invocation: Invocation,
  options: { readonly passwordFile?: string; readonly currentFile?: string },
  named: string | undefined,
): Promise<number> {
  const client = invocation.client();
  const me = await client.call(calls.whoami);
  const user = named ?? me.user;
  if (user === null) throw new PilotageError('bad-request', 'whose password? You are no user here: name one');
  const source = passwordSource(invocation.context);
  try {
    const isOwn = me.how === 'session' && me.user === user;
    const current = isOwn ? await source.ask('current password', options.currentFile, '--current-file') : undefined;
    const body = { password: await source.askNew('new password', options.passwordFile), ...defined({ current }) };
    const { endedSessions } = await client.call(calls.setPassword, { params: { user }, body });
    const ended = endedSessions > 0 ? `; ${plural(endedSessions, 'other login')} ended` : '';
    await invocation.print({ user, endedSessions }, () => `user ${user} has a new password${ended}`);
    return EXIT.done;
  } finally {
    source.close();
  }
}

function toRole(text: string): Role {
  if (Object.hasOwn(ROLES, text)) return text as Role;
  throw new PilotageError('bad-request', `there is no role '${text}'${hintOf(text, Object.keys(ROLES))}`);
}

function columns(now: Date): Column<UserView>[] {
  return [
    { title: 'USER', of: ({ name }) => name },
    { title: 'ROLE', of: ({ role: of }) => of },
    { title: 'PASSWORD', of: ({ hasPassword }) => (hasPassword ? 'set' : 'none yet') },
    { title: 'ADDED', of: ({ createdAt }) => formatAge(createdAt, now) },
    { title: 'WEIGHT', of: ({ weight }) => String(weight) },
    { title: 'RUNS AT MOST', of: ({ runningLimit }) => String(runningLimit ?? '-') },
    { title: 'KEEPS AT MOST', of: ({ storageLimit }) => (storageLimit === null ? '-' : formatSize(storageLimit)) },
    { title: 'OWNS', of: ({ projects }) => projects.join(', ') || '-' },
  ];
}
