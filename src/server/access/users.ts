import { randomBytes } from 'node:crypto';
import { PilotageError } from '../../ground/base/errors.ts';
import { sha256 } from '../store/secrets.ts';
import type { Store } from '../store/store.ts';
import { createGuard } from './guard.ts';
import { hashPassword, verifyPassword } from './passwords.ts';

export interface User {
  readonly name: string;
  readonly roles: readonly string[];
}

export interface Users {
  /**
   * Rejects with `unauthenticated`, the same for a wrong name and a wrong password, or with `too-many-failures` once an
   * address failed too often.
   */
  verify(name: string, password: string, address: string): Promise<User>;
  find(name: string): Promise<User | undefined>;
  /** Makes a user, or gives one another password. */
  setPassword(name: string, password: string, roles?: readonly string[]): Promise<void>;
}

/** A password that was right is known for so long without being hashed again: clients send it with every request. */
const REMEMBERED_MS = 60_000;
const MOST_REMEMBERED = 1000;

export function createUsers(store: Store, monotonicMs: () => number): Users {
  const guard = createGuard(monotonicMs);
  // Hashes with a salt of this process: the passwords themselves are kept nowhere.
  const salt = randomBytes(16).toString('hex');
  const right = new Map<string, number>();
  const nobody = hashPassword(randomBytes(16).toString('hex'));
  return {
    async verify(name, password, address) {
      const row = await store.findUser({ name });
      const stored = row?.password_hash ?? null;
      const key = sha256(`${salt}\n${name}\n${password}\n${stored}`);
      if (row && stored !== null && (right.get(key) ?? 0) > monotonicMs()) return toUser(row);
      const who = `${address} ${name}`;
      const wait = guard.blockedFor(who);
      if (wait > 0)
        throw new PilotageError(
          'too-many-failures',
          `too many wrong passwords came from ${address}: try again in ${wait} s`,
          {
            details: { retryAfterSeconds: wait },
          },
        );
      // Also for a name that nobody has: the time tells nothing.
      const fits = await verifyPassword(password, stored ?? (await nobody));
      if (!row || stored === null || !fits) {
        guard.failed(who);
        throw new PilotageError('unauthenticated', 'name or password is wrong');
      }
      if (right.size >= MOST_REMEMBERED) right.clear();
      right.set(key, monotonicMs() + REMEMBERED_MS);
      return toUser(row);
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

function toUser(row: { name: string; roles: string }): User {
  return { name: row.name, roles: JSON.parse(row.roles) };
}
