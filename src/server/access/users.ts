import { randomBytes } from 'node:crypto';
import { PilotageError } from '../../ground/base/errors.ts';
import { passwordMark, sha256 } from '../store/secrets.ts';
import type { Store } from '../store/store.ts';
import type { Role, UserRow } from '../store/verbs/users.ts';
import { createHashTurns } from './hash-turns.ts';
import { createLoginGate, type Try } from './login-gate.ts';
import { hashPassword, verifyPassword } from './passwords.ts';
import { networkOf } from './slow-down.ts';

export interface User {
  readonly name: string;
  readonly roles: readonly string[];
  /** Null: of the CouchDB face alone. */
  readonly role: Role | null;
  /** Another one once the password is changed; tells nothing of it. */
  readonly passwordMark: string;
}

export interface Users {
  /**
   * Rejects with `unauthenticated`, the same for a wrong name and a wrong password, or with `too-many-failures` once that
   * name failed too often from that address (or from everywhere): then each try waits for its turn, and the right
   * password is let in all the same. Rejects with `busy` where too many wait to be looked at.
   */
  verify(name: string, password: string, address: string): Promise<User>;
  find(name: string): Promise<User | undefined>;
  /** Makes a user of the CouchDB face, or gives one another password. */
  setPassword(name: string, password: string, roles?: readonly string[]): Promise<void>;
}

/** A password that was right is known for so long without being hashed again: clients send it with every request. */
const REMEMBERED_MS = 3_600_000;
const MOST_REMEMBERED = 1000;

export interface UsersOptions {
  /** Told of each wrong try: a name that nobody has is null. */
  readonly onFailure?: (name: string | null, address: string) => void;
}

export function createUsers(store: Store, monotonicMs: () => number, { onFailure }: UsersOptions = {}): Users {
  const gate = createLoginGate(monotonicMs);
  // Hashes with a salt of this process: the passwords themselves are kept nowhere.
  const salt = randomBytes(16).toString('hex');
  const right = new Map<string, number>();
  const nobody = hashPassword(randomBytes(16).toString('hex'));
  const turns = createHashTurns();
  const examine = async (one: Try, password: string, stored: string | null) => {
    const { waited, isTrusted, leave } = await gate.enter(one);
    try {
      const from = { network: networkOf(one.address), isTrusted };
      // Also for a name that nobody has: the time tells nothing.
      return { waited, fits: await turns.take(from, async () => verifyPassword(password, stored ?? (await nobody))) };
    } finally {
      leave();
    }
  };
  const once = createOnce<Awaited<ReturnType<typeof examine>>>();
  return {
    async verify(name, password, address) {
      const row = await store.findUser({ name });
      const stored = row?.password_hash ?? null;
      const key = sha256(`${salt}\n${name}\n${password}\n${stored}`);
      if (row && stored !== null && (right.get(key) ?? 0) > monotonicMs()) return toUser(row);
      const one = { name, address };
      // Nobody waits for somebody else's turn.
      const alike = gate.isSlow(one) ? `${key} ${networkOf(address)}` : key;
      const { waited, fits } = await once(alike, () => examine(one, password, stored));
      // It may have waited for long: the password may be another one by now, and the role too.
      const now = fits ? await store.findUser({ name }) : null;
      if (!now || stored === null || now.password_hash !== stored) {
        gate.failed(one);
        onFailure?.(row ? name : null, address);
        if (waited) throw gate.tooMany(one);
        throw new PilotageError('unauthenticated', 'name or password is wrong');
      }
      if (right.size >= MOST_REMEMBERED) right.clear();
      right.set(key, monotonicMs() + REMEMBERED_MS);
      gate.passed(one);
      return toUser(now);
    },
    async find(name) {
      const row = await store.findUser({ name });
      return row ? toUser(row) : undefined;
    },
    async setPassword(name, password, roles) {
      const standing = await store.findUser({ name });
      await store.putUser({
        name,
        passwordHash: await hashPassword(password),
        roles: roles ? JSON.stringify(roles) : (standing?.roles ?? '[]'),
        fields: standing?.fields ?? '{}',
        hash: randomBytes(16).toString('hex'),
      });
    },
  };
}

/** Many pilots come with one password at once: what is being looked at is looked at for all of them, and is one try. */
function createOnce<T>(): (key: string, act: () => Promise<T>) => Promise<T> {
  const underWay = new Map<string, Promise<T>>();
  return async (key, act) => {
    for (let other = underWay.get(key); other; other = underWay.get(key)) {
      const found = await other.catch(() => undefined);
      if (found !== undefined) return found;
    }
    const own = act().finally(() => underWay.delete(key));
    underWay.set(key, own);
    return own;
  };
}

function toUser({ name, roles, role, password_hash: hash }: UserRow): User {
  return { name, roles: JSON.parse(roles), role, passwordMark: passwordMark(hash) };
}
