import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { PilotageError } from '../../ground/base/errors.ts';
import { sha256 } from '../store/secrets.ts';
import type { Store } from '../store/store.ts';
import type { UserRow } from '../store/verbs/users.ts';
import { createGuard } from './guard.ts';
import { hashPassword, verifyPassword } from './passwords.ts';

export interface User {
  readonly name: string;
  readonly roles: readonly string[];
  /** Another one once the password is changed; tells nothing of it. */
  readonly passwordMark: string;
}

export interface Users {
  /**
   * Rejects with `unauthenticated`, the same for a wrong name and a wrong password, or with `too-many-failures` once that
   * name failed too often from that address: then each try waits for its turn, and the right password is let in all the same.
   */
  verify(name: string, password: string, address: string): Promise<User>;
  find(name: string): Promise<User | undefined>;
  /** Makes a user, or gives one another password. */
  setPassword(name: string, password: string, roles?: readonly string[]): Promise<void>;
}

/** A password that was right is known for so long without being hashed again: clients send it with every request. */
const REMEMBERED_MS = 3_600_000;
const MOST_REMEMBERED = 1000;

export function createUsers(store: Store, monotonicMs: () => number): Users {
  const guard = createGuard(monotonicMs);
  // Hashes with a salt of this process: the passwords themselves are kept nowhere.
  const salt = randomBytes(16).toString('hex');
  const right = new Map<string, number>();
  const turns = createTurns();
  const nobody = hashPassword(randomBytes(16).toString('hex'));
  return {
    async verify(name, password, address) {
      const row = await store.findUser({ name });
      const stored = row?.password_hash ?? null;
      const key = sha256(`${salt}\n${name}\n${password}\n${stored}`);
      if (row && stored !== null && (right.get(key) ?? 0) > monotonicMs()) return toUser(row);
      const who = `${address} ${name}`;
      const seconds = guard.blockedFor(who);
      if (seconds > 0) await turns.next(who, seconds);
      // Also for a name that nobody has: the time tells nothing.
      const fits = await verifyPassword(password, stored ?? (await nobody));
      if (!row || stored === null || !fits) {
        guard.failed(who);
        if (seconds > 0) throw tooMany(name, address, seconds);
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

/** After too many failures one try a second is looked at, and so many wait: many pilots may share a name and an address with a wrong one. */
const TURN_MS = 1000;
const MOST_WAITING = 60;

function createTurns() {
  const waiting = new Map<string, { last: Promise<void>; count: number }>();
  return {
    async next(who: string, seconds: number): Promise<void> {
      const line = waiting.get(who) ?? { last: Promise.resolve(), count: 0 };
      if (line.count >= MOST_WAITING)
        throw tooMany(who.split(' ').slice(1).join(' '), who.split(' ')[0] ?? '', seconds);
      line.count += 1;
      line.last = line.last.then(() => pause(TURN_MS));
      waiting.set(who, line);
      try {
        await line.last;
      } finally {
        line.count -= 1;
        if (line.count === 0) waiting.delete(who);
      }
    },
  };
}

function tooMany(name: string, address: string, seconds: number): PilotageError {
  return new PilotageError(
    'too-many-failures',
    `too many wrong passwords of '${name}' came from ${address}: correct those, and try again in ${seconds} s`,
    { details: { retryAfterSeconds: seconds } },
  );
}

function toUser({ name, roles, password_hash: hash }: UserRow): User {
  return { name, roles: JSON.parse(roles), passwordMark: sha256(hash ?? '') };
}
