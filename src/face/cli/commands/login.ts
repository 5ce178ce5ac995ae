import type { Command } from 'commander';
import { PilotageError } from '../../../ground/base/errors.ts';
import { passwordSource } from '../ask-password.ts';
import { calls } from '../calls.ts';
import { connectUnknown } from '../connect.ts';
import type { Define } from '../define.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { findSession, keepSession, sessionFile } from '../session-file.ts';
import { formatAge } from '../table.ts';
import { endSession } from './logout.ts';

interface Options {
  readonly passwordFile?: string;
}

export function loginCommand(define: Define): Command {
  return define('login', 'Log in to a server; commands for it are then yours until you log out', login)
    .argument('[user]', 'your name there; as on this computer unless given')
    .option('--password-file <file>', 'a file of mode 0600 with the password, which is asked for unless given');
}

async function login(invocation: Invocation, options: Options, user: string | undefined): Promise<number> {
  const { context } = invocation;
  const place = invocation.place();
  const name = user ?? context.env.USER ?? context.env.LOGNAME;
  if (!name) throw new PilotageError('bad-request', "who are you there? Give your name: 'pilotage login NAME'");
  const password = await askFor(invocation, `password of ${name} at ${place.url}`, options.passwordFile);
  const client = connectUnknown(place, context);
  try {
    const { token, ...session } = await client.call(calls.login, { body: { user: name, password } });
    const before = findSession(context.env, place.url);
    if (before !== undefined) await endSession(invocation, before).catch(() => undefined);
    keepSession(sessionFile(context.env, place.url), token);
    const until = formatAge(session.expiresAt, context.now());
    await invocation.print(
      { ...session, server: place.url },
      () => `logged in to ${place.url} as ${session.user} (${session.role}); it ends ${until} if it is not used`,
    );
  } finally {
    client.close();
  }
  if (place.tokenFile !== undefined)
    await invocation.say(`commands go on with the token in '${place.tokenFile}', which was named and goes first`);
  return EXIT.done;
}

async function askFor(invocation: Invocation, what: string, file: string | undefined): Promise<string> {
  const source = passwordSource(invocation.context);
  try {
    return await source.ask(what, file);
  } finally {
    source.close();
  }
}
