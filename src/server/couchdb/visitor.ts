import type { Principal } from '../access/principal.ts';

/** Who asks: a user with a password, the holder of one of our tokens, or nobody. */
export interface Visitor {
  readonly name: string | null;
  readonly roles: readonly string[];
  readonly isAdmin: boolean;
  /** Of one of our tokens. */
  readonly principal: Principal | null;
  readonly how: 'none' | 'basic' | 'cookie' | 'token';
}

export const NOBODY: Visitor = { name: null, roles: [], isAdmin: false, principal: null, how: 'none' };
