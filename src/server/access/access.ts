import { randomBytes } from 'node:crypto';
import { PilotageError } from '../../ground/base/errors.ts';
import { sha256 } from '../store/secrets.ts';
import type { Store } from '../store/store.ts';
import type { AuditEntry } from '../store/verbs/audit.ts';
import type { TokenKind, TokenRow } from '../store/verbs/tokens.ts';
import { createGuard, type Guard } from './guard.ts';
import { identifyTask, UNKNOWN } from './identify.ts';
import { createOpenRequests, type Look, type OpenRequests } from './open-requests.ts';
import { mayLess, type Principal, type Scope } from './principal.ts';
import { createTokenCache } from './token-cache.ts';

export interface NewTokenInput {
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly projects: readonly string[] | null;
  readonly expiresInSeconds: number | null;
  readonly kind?: TokenKind;
  /** Whose it is; nobody's unless given. */
  readonly user?: string | null;
  /** What a login was let in by. */
  readonly passwordMark?: string;
  readonly audit?: AuditEntry;
}

export interface Access {
  /**
   * Who holds this token. Rejects with `unauthenticated`, or with `too-many-failures` once an address failed too often
   * (a good token is let in all the same: many workers may share one address with a bad one).
   */
  authenticate(token: string | undefined, address: string): Promise<Principal>;
  /** The token is shown here and never again: only its hash is kept. Rejects with `not-found` when its user is not there. */
  createToken(input: NewTokenInput): Promise<{ row: TokenRow; token: string }>;
  /** Makes sure that a given token (of a file) is known as an administrator's. */
  adopt(token: string, name: string): Promise<void>;
  /** Those of one user, or all. */
  list(user: string | null): Promise<TokenRow[]>;
  /** Of one user, or anybody's. */
  revoke(id: number, user: string | null, audit?: AuditEntry): Promise<TokenRow>;
  /** What somebody may do has changed: from now on every server of the database looks anew, also who has a request open. */
  changed(): void;
  /** Looks after a request that is open; see `OpenRequests.add`. */
  whileOpen: OpenRequests['add'];
  /** Whether the holder of a token may still what they could before. */
  standing(token: string, before: Principal): ReturnType<Look>;
}

/** A session ends when it was not used for so long. */
export const SESSION_SECONDS = 30 * 86_400;
/** So much of it has to be gone before it is made longer: a session that is used is not written at each request. */
const RENEWED_AFTER_MS = 86_400_000;

export function createAccess(store: Store, monotonicMs: () => number): Access {
  const guard = createGuard(monotonicMs);
  const open = createOpenRequests();
  const cache = createTokenCache(store, monotonicMs, () => open.changed());
  const identify = (token: string) => (token.startsWith('task:') ? identifyTask(store, token) : cache.identify(token));
  return {
    async authenticate(token, address) {
      if (token === undefined || token === '')
        throw new PilotageError(
          'unauthenticated',
          "no token was sent: log in with 'pilotage login', or give a token with --token-file, or as Authorization: Bearer",
        );
      const found = await identify(token);
      if (typeof found !== 'string') {
        if (found.token?.kind === 'session') await renew(store, found);
        return { ...found, address };
      }
      if (found === UNKNOWN) refuseGuessing(guard, address);
      throw new PilotageError('unauthenticated', found);
    },
    async createToken(input) {
      const token = newSecret();
      const row = await store.createToken({
        name: input.name,
        kind: input.kind ?? 'token',
        user: input.user ?? null,
        hash: sha256(token),
        scopes: JSON.stringify(input.scopes),
        projects: input.projects === null ? null : JSON.stringify(input.projects),
        expiresInMs: input.expiresInSeconds === null ? null : Math.round(input.expiresInSeconds * 1000),
        ...(input.passwordMark === undefined ? {} : { passwordMark: input.passwordMark }),
        ...(input.audit ? { audit: input.audit } : {}),
      });
      if (!row)
        throw new PilotageError(
          'not-found',
          `there is no user '${input.user}': 'pilotage user list' shows those there are`,
        );
      return { row, token };
    },
    async adopt(token, name) {
      const hash = sha256(token);
      const known = await store.findToken({ hash });
      if (known && known.revoked_at === null && known.kind === 'admin') return;
      await store.createToken({
        name,
        kind: 'admin',
        user: null,
        hash,
        scopes: '["admin"]',
        projects: null,
        expiresInMs: null,
      });
    },
    list: (user) => store.listTokens({ user }),
    async revoke(id, user, audit) {
      const row = await store.revokeToken({ id, user, ...(audit ? { audit } : {}) });
      cache.changed();
      if (!row) throw new PilotageError('not-found', `there is no token ${id}: 'pilotage token list' shows them`);
      return row;
    },
    changed: () => cache.changed(),
    whileOpen: open.add,
    async standing(token, before) {
      const now = await identify(token);
      if (typeof now === 'string') return new PilotageError('unauthenticated', now);
      return mayLess(now, before) ? 'less' : undefined;
    },
  };
}

/** Wall clocks of several servers may differ by a little: it is a matter of days here. */
async function renew(store: Store, { tokenId, token }: Principal): Promise<void> {
  const left = (token?.expiresAt ?? 0) - Date.now();
  if (left < SESSION_SECONDS * 1000 - RENEWED_AFTER_MS)
    // Where that fails (the disk is full, say), the next request tries again: this one is good all the same.
    await store.renewSession({ id: tokenId, expiresInMs: SESSION_SECONDS * 1000 }).catch(() => undefined);
}

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
