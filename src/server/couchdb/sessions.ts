import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Users } from '../access/users.ts';
import { type UserAccess, type Visitor, visitorOf } from './visitor.ts';

const LIFE_SECONDS = 600;

export interface Sessions {
  /** The value of a cookie that says who somebody is, for ten minutes, or until they have another password than was shown. */
  cookie(name: string, passwordMark: string | null): string;
  /** Who a cookie says it is; undefined: it is not ours, or too old. */
  visitor(cookie: string): Promise<Visitor | undefined>;
}

/**
 * Sessions end with the server, and with the password they began with: clients log in again, as they do when one has
 * expired. Who comes later under the name of a removed user is somebody else.
 */
export function createSessions(
  users: Users,
  accessOf: (name: string) => Promise<UserAccess>,
  now: () => number,
): Sessions {
  const key = randomBytes(32);
  const sign = (text: string) => createHmac('sha256', key).update(text).digest();
  return {
    cookie(name, passwordMark) {
      const text = `${Buffer.from(name).toString('base64url')}.${Math.floor(now() / 1000) + LIFE_SECONDS}`;
      return `${text}.${sign(`${text}\n${passwordMark}`).toString('base64url')}`;
    },
    async visitor(cookie) {
      const [name = '', until = '', signature = ''] = cookie.split('.');
      const user = await users.find(Buffer.from(name, 'base64url').toString('utf8'));
      const given = Buffer.from(signature, 'base64url');
      const right = sign(`${name}.${until}\n${user?.passwordMark}`);
      if (given.length !== right.length || !timingSafeEqual(given, right)) return undefined;
      if (!user || Number(until) * 1000 < now()) return undefined;
      return visitorOf(user, 'cookie', accessOf);
    },
  };
}
