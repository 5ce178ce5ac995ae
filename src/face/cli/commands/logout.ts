import type { Command } from 'commander';
import { PilotageError } from '../../../ground/base/errors.ts';
import { calls } from '../calls.ts';
import { connect } from '../connect.ts';
import type { Define } from '../define.ts';
import { defined } from '../defined.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { findSession, forgetSession } from '../session-file.ts';

export function logoutCommand(define: Define): Command {
  return define('logout', 'End your login at a server', logout);
}

async function logout(invocation: Invocation): Promise<number> {
  const { url } = invocation.place();
  const file = findSession(invocation.context.env, url);
  if (file === undefined) throw new PilotageError('wrong-state', `you are not logged in to ${url}`);
  await endSession(invocation, file);
  forgetSession(file);
  await invocation.print({ server: url }, () => `logged out of ${url}`);
  return EXIT.done;
}

/** At the server. What is over there already is as good. */
export async function endSession(invocation: Invocation, tokenFile: string): Promise<void> {
  const { url, fingerprint, file } = invocation.place();
  const client = connect({ url, tokenFile, ...defined({ fingerprint, file }) }, invocation.context);
  try {
    await client.call(calls.logout);
  } catch (error) {
    if (!(error instanceof PilotageError) || error.code !== 'unauthenticated') throw error;
  } finally {
    client.close();
  }
}
