import type { Principal } from '../access/principal.ts';
import type { User } from '../access/users.ts';

/** Who asks: a user with a password, the holder of one of our tokens, or nobody. */
export interface Visitor {
  readonly name: string | null;
  readonly roles: readonly string[];
  readonly isAdmin: boolean;
  /** Of one of our tokens. */
  readonly principal: Principal | null;
  /** Projects that a user of Pilotage may enter, whatever their `_security` says: those owned, and those granted. */
  readonly owns: readonly string[];
  readonly enters: readonly string[];
  readonly how: 'none' | 'basic' | 'cookie' | 'token';
  /** Of the password that was shown. */
  readonly passwordMark: string | null;
}

export const NOBODY: Visitor = {
  name: null,
  roles: [],
  isAdmin: false,
  principal: null,
  owns: [],
  enters: [],
  how: 'none',
  passwordMark: null,
};

/** Who has shown a password, now or at the begin of a session. An administrator of Pilotage is one here too. */
export async function visitorOf(
  user: User,
  how: 'basic' | 'cookie',
  accessOf: (name: string) => Promise<UserAccess>,
): Promise<Visitor> {
  const { name, roles, role, passwordMark } = user;
  const visitor = { ...NOBODY, name, roles, isAdmin: roles.includes('_admin'), how, passwordMark };
  if (role === null) return visitor;
  if (role === 'administrator') return { ...visitor, roles: [...new Set([...roles, '_admin'])], isAdmin: true };
  return { ...visitor, ...(await accessOf(name)) };
}

export interface UserAccess {
  readonly owns: readonly string[];
  readonly enters: readonly string[];
}
