import { parseTaskId } from '../../ground/base/task-id.ts';
import { sameHash, sha256 } from '../store/secrets.ts';
import type { Store } from '../store/store.ts';
import type { FoundToken } from '../store/verbs/tokens.ts';
import { type Principal, REGULAR, type Scope } from './principal.ts';

export const UNKNOWN = 'the token is not known here: is it from this server, and whole?';

/** Who holds a token, or why it is not good. */
export async function identifyToken(store: Store, token: string): Promise<Principal | string> {
  const hash = sha256(token);
  const row = await store.findToken({ hash });
  if (!row || !sameHash(row.hash, hash)) return UNKNOWN;
  return whyOver(row) ?? principalOf(row);
}

function whyOver({ name, kind, user_name: owner, user, revoked_at, expires_at, now }: FoundToken): string | undefined {
  const isOver = revoked_at !== null || (expires_at !== null && expires_at <= now) || (owner !== null && !user);
  if (!isOver) return undefined;
  if (kind === 'session') return `the login of '${owner}' is over: log in again with 'pilotage login'`;
  const again = "have a new one made with 'pilotage token create'";
  if (revoked_at !== null) return `the token '${name}' was revoked: ${again}`;
  if (expires_at !== null && expires_at <= now)
    return `the token '${name}' expired at ${new Date(expires_at).toISOString()}: ${again}`;
  return `the token '${name}' was that of '${owner}', who is no user any more: ${again}`;
}

/** A token of a user never does more than the user may now. */
function principalOf(row: FoundToken): Principal {
  const { id, name, kind, user_name: owner, user, expires_at: expiresAt } = row;
  const scopes = JSON.parse(row.scopes) as Scope[];
  const projects = row.projects === null ? null : (JSON.parse(row.projects) as string[]);
  const token = { kind, name, expiresAt };
  if (owner === null || !user) return { name, tokenId: id, scopes, projects, token };
  const isRegular = user.role === 'regular';
  return {
    name: owner,
    tokenId: id,
    scopes:
      kind === 'session' ? (isRegular ? REGULAR : ['admin']) : scopes.filter((one) => !isRegular || one !== 'admin'),
    projects: both(projects, user.projects),
    token,
    user: { name: owner, role: user.role },
  };
}

function both(a: readonly string[] | null, b: readonly string[] | null): readonly string[] | null {
  if (a === null || b === null) return a ?? b;
  return a.filter((name) => b.includes(name));
}

/** `task:<id>:<attempt>:<secret>`: good for the project of a task while that attempt runs; of a pilot, to work as long. */
export async function identifyTask(store: Store, token: string): Promise<Principal | string> {
  const [, id = '', attempt = '', secret = ''] = token.split(':');
  const wrong = 'the credential of a task is good only while the task runs';
  if (!/^\d+\.\d+$/.test(id) || !/^\d+$/.test(attempt)) return wrong;
  const key = parseTaskId(id);
  const found = await store.findAttemptCredential({
    submission: key.submission,
    idx: key.index,
    attempt: Number(attempt),
    secretHash: sha256(secret),
  });
  if (!found) return wrong;
  if (found.pilot) {
    const { projects } = found.pilot;
    return { name: `pilot-${key.submission}`, tokenId: 0, scopes: ['work'], projects, pilot: key.submission };
  }
  const principal = { name: found.owner, tokenId: 0, projects: [found.project], task: key } as const;
  // What a borrowed task may do it may do at its home.
  if (found.isBorrowed) return { ...principal, scopes: [], isBorrowed: true };
  return { ...principal, scopes: ['submit', 'read'] };
}
