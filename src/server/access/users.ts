import { randomBytes } from 'node:crypto';
import { PilotageError } from '../../ground/base/errors.ts';
import { sha256 } from '../store/secrets.ts';
import type { Store } from '../store/store.ts';
import type { Role, UserRow } from '../store/verbs/users.ts';
import { createLoginGate } from './login-gate.ts';
import { hashPassword, verifyPassword } from './passwords.ts';

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
   * password is let in all the same.
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
  return {
    async verify(name, password, address) {
      const row = await store.findUser({ name });
      const stored = row?.password_hash ?? null;
      const key = sha256(`${salt}\n${name}\n${password}\n${stored}`);
      if (row && stored !== null && (right.get(key) ?? 0) > monotonicMs()) return toUser(row);
      const waited = await gate.enter({ name, address });
      // Also for a name that nobody has: the time tells nothing.
      const fits = await verifyPassword(password, stored ?? (await nobody));
      if (!row || stored === null || !fits) {
        gate.failed({ name, address });
        onFailure?.(row ? name : null, address);
        if (waited) throw gate.tooMany({ name, address });
        throw new PilotageError('unauthenticated', 'name or password is wrong');
      }
      if (right.size >= MOST_REMEMBERED) right.clear();
      right.set(key, monotonicMs() + REMEMBERED_MS);
      gate.passed({ name, address });
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

function toUser({ name, roles, role, password_hash: hash }: UserRow): User {
  return { name, roles: JSON.parse(roles), role, passwordMark: sha256(hash ?? '') };
}
