import { ask, NoAnswer, Refused } from './api.ts';

/** The token of a new session, or why there is none, in words for the page. */
export async function logIn(user: string, password: string): Promise<{ token: string } | { why: string }> {
  try {
    const { token } = await ask('login', { method: 'POST', body: { user, password } });
    return { token };
  } catch (error) {
    if (error instanceof Refused && error.status === 401) return { why: 'The name or the password is wrong.' };
    if (error instanceof Refused) return { why: `The server refused: ${error.message}` };
    if (error instanceof NoAnswer) return { why: 'No answer from the server: try again.' };
    throw error;
  }
}

/** Ends the session at the server. Where that fails it ends by itself, some time after its last use. */
export async function logOut(): Promise<void> {
  await ask('logout', { method: 'POST' }).catch(() => undefined);
}
