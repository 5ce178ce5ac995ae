import { PilotageError } from '../../ground/base/errors.ts';
import type { Role } from '../store/verbs/users.ts';
import { type Access, SESSION_SECONDS } from './access.ts';
import type { Audit } from './audit.ts';
import { type Principal, REGULAR } from './principal.ts';
import type { Users } from './users.ts';

export interface Logins {
  /** Begins a session. Rejects as `Users.verify` does, also for those whom the CouchDB face alone knows. */
  login(
    given: { readonly user: string; readonly password: string },
    address: string,
  ): Promise<{ user: string; role: Role; token: string; expiresAt: number }>;
  /** Ends the session that somebody came with. */
  logout(who: Principal): Promise<void>;
}

export function createLogins({
  users,
  access,
  audit,
}: {
  readonly users: Users;
  readonly access: Access;
  readonly audit: Audit;
}): Logins {
  return {
    async login({ user: name, password }, address) {
      const user = await users.verify(name, password, address);
      if (user.role === null) throw wrong();
      const { row, token } = await access
        .createToken({
          name,
          kind: 'session',
          user: name,
          // What its user may do is looked up at each request: the scopes are those that a session can have at the most.
          scopes: user.role === 'administrator' ? ['admin'] : REGULAR,
          projects: null,
          expiresInSeconds: SESSION_SECONDS,
          passwordMark: user.passwordMark,
          audit: audit.entry({ name, how: 'password', address }, 'login', name),
        })
        .catch((error: unknown) => {
          // Removed, or with another password, since the password was looked at.
          throw error instanceof PilotageError && error.code === 'not-found' ? wrong() : error;
        });
      return { user: name, role: user.role, token, expiresAt: row.expires_at ?? 0 };
    },
    async logout(who) {
      if (who.token?.kind !== 'session')
        throw new PilotageError('wrong-state', "this is no login but a token: 'pilotage token revoke' ends one");
      await access.revoke(who.tokenId, who.name, audit.entry(who, 'logout', who.name));
    },
  };
}

function wrong(): PilotageError {
  return new PilotageError('unauthenticated', 'name or password is wrong');
}
