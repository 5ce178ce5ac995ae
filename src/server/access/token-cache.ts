import { sha256 } from '../store/secrets.ts';
import type { Store } from '../store/store.ts';
import { identifyToken } from './identify.ts';
import type { Principal } from './principal.ts';

/** The note that tells all servers to look at their tokens anew. */
const CHANGED = 't';
const REMEMBERED_MS = 1000;
const MOST_REMEMBERED = 1000;

export interface TokenCache {
  identify(token: string): Promise<Principal | string>;
  /** What somebody may do has changed: all servers of the database look anew. */
  changed(): void;
}

/**
 * Workers show their token with every exchange: it is looked up once a second. A revocation is told to all servers of
 * the database; should the note get lost, the second is over soon.
 */
export function createTokenCache(store: Store, monotonicMs: () => number, onChange = () => {}): TokenCache {
  const seen = new Map<string, { readonly principal: Principal; readonly until: number }>();
  // Who is looked up at this moment: all requests of a token that are open are looked after in one.
  const looking = new Map<string, Promise<Principal | string>>();
  // What was looked up before a change is not remembered after it.
  let changes = 0;
  const forget = () => {
    changes += 1;
    seen.clear();
    looking.clear();
    onChange();
  };
  const look = (hash: string, token: string) => {
    const before = changes;
    const found = identifyToken(store, token)
      .then((principal) => {
        if (seen.size >= MOST_REMEMBERED) seen.clear();
        if (typeof principal === 'string') seen.delete(hash);
        else if (before === changes) seen.set(hash, { principal, until: monotonicMs() + REMEMBERED_MS });
        return principal;
      })
      .finally(() => {
        if (looking.get(hash) === found) looking.delete(hash);
      });
    looking.set(hash, found);
    return found;
  };
  store.onNote((note) => {
    if (note === CHANGED) forget();
  });
  return {
    changed() {
      forget();
      store.tell(CHANGED);
    },
    async identify(token) {
      const hash = sha256(token);
      const remembered = seen.get(hash);
      if (remembered && remembered.until > monotonicMs()) return remembered.principal;
      return looking.get(hash) ?? look(hash, token);
    },
  };
}
