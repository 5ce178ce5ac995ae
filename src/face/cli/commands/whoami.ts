import type { Command } from 'commander';
import type { WhoAmI } from '../../../ground/protocol/user.ts';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { formatAge } from '../table.ts';

export function whoamiCommand(define: Define): Command {
  return define('whoami', 'Say who you are for the server, and what you may do there', whoami);
}

async function whoami(invocation: Invocation): Promise<number> {
  const me = await invocation.client().call(calls.whoami);
  const server = invocation.address().url;
  await invocation.print({ ...me, server }, () => describe(me, server, invocation.context.now()));
  return EXIT.done;
}

function describe(me: WhoAmI, server: string, now: Date): string {
  const lines = [
    `${me.name}${me.role === null ? '' : ` (${me.role})`} at ${server}`,
    `by      ${HOW[me.how]}${me.how === 'token' ? ` '${me.token?.name}'` : ''}`,
    `may     ${me.scopes.join(', ')}`,
    `enters  ${me.projects === null ? 'all projects' : me.projects.join(', ') || 'no project yet'}`,
    `ends    ${ends(me, now)}`,
  ];
  return lines.join('\n');
}

const HOW: Readonly<Record<WhoAmI['how'], string>> = {
  session: 'a login',
  token: 'the token',
  admin: "the administrator's token of the data directory",
  task: 'the credential of a running task',
  pilot: 'the credential of a pilot',
};

function ends({ expiresAt, how }: WhoAmI, now: Date): string {
  if (expiresAt === null) return how === 'task' || how === 'pilot' ? 'with the task' : 'when it is revoked';
  return `${formatAge(expiresAt, now)}${how === 'session' ? ', if it is not used' : ''}`;
}
