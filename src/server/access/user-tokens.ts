import { PilotageError } from '../../ground/base/errors.ts';
import type { Store } from '../store/store.ts';
import type { TokenRow } from '../store/verbs/tokens.ts';
import type { Access } from './access.ts';
import type { Audit } from './audit.ts';
import { findProject } from './find-project.ts';
import { isAdministrator, type Principal, requireAdministrator, requirePerson, type Scope } from './principal.ts';

export interface TokenFacts {
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly projects?: readonly string[] | undefined;
  readonly expiresInSeconds?: number | undefined;
  /** Null or not said: nobody's, where an administrator makes it. */
  readonly user?: string | null | undefined;
}

/** Tokens for programs: administrators see and make all, a regular user their own. */
export interface UserTokens {
  list(who: Principal): Promise<TokenRow[]>;
  create(who: Principal, facts: TokenFacts): Promise<{ row: TokenRow; token: string }>;
  revoke(who: Principal, id: number): Promise<TokenRow>;
}

export interface UserTokensParts {
  readonly store: Store;
  readonly access: Access;
  readonly audit: Audit;
}

export function createUserTokens({ store, access, audit }: UserTokensParts): UserTokens {
  return {
    async list(who) {
      requirePerson(who);
      return access.list(ownerFor(who));
    },
    async create(who, facts) {
      requirePerson(who);
      const user = isAdministrator(who) ? (facts.user ?? null) : ownUser(who, facts);
      if (user !== null && facts.scopes.includes('admin')) await requireMayAdministrate(store, user);
      const { name, scopes, projects = null, expiresInSeconds = null } = facts;
      // A token for a name that nothing has yet would be one for whoever takes that name.
      for (const project of projects ?? []) await findProject(store, who, project);
      const detail = { user, scopes, projects, expiresInSeconds };
      const entry = audit.entry(who, 'token.create', name, detail);
      return access.createToken({ name, scopes, projects, expiresInSeconds, user, audit: entry });
    },
    async revoke(who, id) {
      requirePerson(who);
      const owner = ownerFor(who);
      const found = (await access.list(owner)).find((row) => row.id === id);
      const entry = audit.entry(who, 'token.revoke', found?.name ?? String(id), { id, user: found?.user_name ?? null });
      return access.revoke(id, owner, entry);
    },
  };
}

/** Whose tokens somebody sees; null: all. */
function ownerFor(who: Principal): string | null {
  return isAdministrator(who) ? null : who.name;
}

function ownUser(who: Principal, { user, scopes }: TokenFacts): string {
  if (scopes.includes('admin')) requireAdministrator(who);
  if (user !== undefined && user !== null && user !== who.name) requireAdministrator(who);
  return who.name;
}

async function requireMayAdministrate(store: Store, user: string): Promise<void> {
  if ((await store.findUser({ name: user }))?.role !== 'regular') return;
  throw new PilotageError(
    'bad-request',
    `'${user}' is a regular user, whose tokens never have the scope 'admin': leave it out, or 'pilotage user role ${user} administrator' first`,
  );
}
