import { randomBytes } from 'node:crypto';
import { PilotageError } from '../../ground/base/errors.ts';
import { parseTaskId } from '../../ground/base/task-id.ts';
import { sameHash, sha256 } from '../store/secrets.ts';
import type { Store } from '../store/store.ts';
import type { TokenRow } from '../store/verbs/tokens.ts';
import { createGuard, type Guard } from './guard.ts';
import type { Principal, Scope } from './principal.ts';

export interface NewTokenInput {
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly projects: readonly string[] | null;
  readonly expiresInSeconds: number | null;
}

export interface Access {
  /**
   * Who holds this token. Rejects with `unauthenticated`, or with `too-many-failures` once an address failed too often
   * (a good token is let in all the same: many workers may share one address with a bad one).
   */
  authenticate(token: string | undefined, address: string): Promise<Principal>;
  /** The token is shown here and never again: only its hash is kept. */
  createToken(input: NewTokenInput): Promise<{ row: TokenRow; token: string }>;
  /** Makes sure that a given token (of a file) is known as an administrator's. */
  adopt(token: string, name: string): Promise<void>;
  list(): Promise<TokenRow[]>;
  revoke(id: number): Promise<TokenRow>;
}

export function createAccess(store: Store, monotonicMs: () => number): Access {
  const guard = createGuard(monotonicMs);
  const known = createTokenCache(store, monotonicMs);
  const identify = (token: string) => (token.startsWith('task:') ? identifyTask(store, token) : known.identify(token));
  return {
    async authenticate(token, address) {
      if (token === undefined || token === '')
        throw new PilotageError(
          'unauthenticated',
          'no token was sent: give one with --token-file, or as Authorization: Bearer',
        );
      const found = await identify(token);
      if (typeof found !== 'string') return found;
      if (found === UNKNOWN) refuseGuessing(guard, address);
      throw new PilotageError('unauthenticated', found);
    },
    async createToken(input) {
      const token = newSecret();
      const row = await store.createToken({
        name: input.name,
        hash: sha256(token),
        scopes: JSON.stringify(input.scopes),
        projects: input.projects === null ? null : JSON.stringify(input.projects),
        expiresInMs: input.expiresInSeconds === null ? null : Math.round(input.expiresInSeconds * 1000),
      });
      return { row, token };
    },
    async adopt(token, name) {
      const known = await store.findToken({ hash: sha256(token) });
      if (!known || known.revoked_at !== null)
        await store.createToken({ name, hash: sha256(token), scopes: '["admin"]', projects: null, expiresInMs: null });
    },
    list: () => store.listTokens(),
    async revoke(id) {
      const row = await store.revokeToken({ id });
      known.forget();
      store.tell(REVOKED);
      if (!row) throw new PilotageError('not-found', `there is no token ${id}: 'pilotage token list' shows them`);
      return row;
    },
  };
}

/** The note that tells all servers to look at their tokens anew. */
const REVOKED = 't';
const REMEMBERED_MS = 1000;
const MOST_REMEMBERED = 1000;

/**
 * Workers show their token with every exchange: it is looked up once a second. A revocation is told to all servers of
 * the database; should the note get lost, the second is over soon.
 */
function createTokenCache(store: Store, monotonicMs: () => number) {
  const seen = new Map<string, { readonly principal: Principal; readonly until: number }>();
  store.onNote((note) => {
    if (note === REVOKED) seen.clear();
  });
  return {
    forget: () => seen.clear(),
    async identify(token: string): Promise<Principal | string> {
      const hash = sha256(token);
      const remembered = seen.get(hash);
      if (remembered && remembered.until > monotonicMs()) return remembered.principal;
      const found = await identifyToken(store, token);
      if (seen.size >= MOST_REMEMBERED) seen.clear();
      if (typeof found === 'string') seen.delete(hash);
      else seen.set(hash, { principal: found, until: monotonicMs() + REMEMBERED_MS });
      return found;
    },
  };
}

const UNKNOWN = 'the token is not known here: is it from this server, and whole?';

/** Tokens that nobody ever had are guesses; ones that expired or were revoked are not. */
function refuseGuessing(guard: Guard, address: string): void {
  const wait = guard.blockedFor(address);
  guard.failed(address);
  if (wait > 0)
    throw new PilotageError(
      'too-many-failures',
      `too many unknown tokens came from ${address}: try again in ${wait} s`,
      { details: { retryAfterSeconds: wait } },
    );
}

/** 256 bits, recognisable in a scan for leaked secrets. */
export function newSecret(): string {
  return `pilotage_${randomBytes(32).toString('base64url')}`;
}

async function identifyToken(store: Store, token: string): Promise<Principal | string> {
  const hash = sha256(token);
  const row = await store.findToken({ hash });
  if (!row || !sameHash(row.hash, hash)) return UNKNOWN;
  if (row.revoked_at !== null)
    return `the token '${row.name}' was revoked: have a new one made with 'pilotage token create'`;
  if (row.expires_at !== null && row.expires_at <= row.now)
    return `the token '${row.name}' expired at ${new Date(row.expires_at).toISOString()}: have a new one made with 'pilotage token create'`;
  return {
    name: row.name,
    tokenId: row.id,
    scopes: JSON.parse(row.scopes),
    projects: row.projects === null ? null : JSON.parse(row.projects),
  };
}

/** `task:<id>:<attempt>:<secret>`: good for the project of a task while that attempt runs; of a pilot, to work as long. */
async function identifyTask(store: Store, token: string): Promise<Principal | string> {
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
