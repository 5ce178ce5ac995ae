import * as crypto from 'node:crypto';
import { promisify } from 'node:util';

/** OWASP's least for Argon2id: 19 MiB, two passes. */
const SETTINGS = { memory: 19_456, passes: 2, parallelism: 1, tagLength: 32 } as const;

interface Argon2Settings {
  readonly message: Buffer;
  readonly nonce: Buffer;
  readonly memory: number;
  readonly passes: number;
  readonly parallelism: number;
  readonly tagLength: number;
}

// Node.js has it since 24.7; its types do not yet.
const argon2 = promisify(
  (
    crypto as unknown as {
      argon2: (kind: string, settings: Argon2Settings, done: (error: Error | null, tag: Buffer) => void) => void;
    }
  ).argon2,
);

/** As PHC strings: `$argon2id$v=19$m=…,t=…,p=…$salt$hash`. */
export async function hashPassword(password: string): Promise<string> {
  const nonce = crypto.randomBytes(16);
  const tag = await argon2('argon2id', { message: Buffer.from(password), nonce, ...SETTINGS });
  const { memory, passes, parallelism } = SETTINGS;
  return `$argon2id$v=19$m=${memory},t=${passes},p=${parallelism}$${plain(nonce)}$${plain(tag)}`;
}

export async function verifyPassword(password: string, stored: string): Promise<boolean> {
  const found = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([^$]+)\$([^$]+)$/.exec(stored);
  if (!found) return false;
  const [, memory, passes, parallelism, salt = '', hash = ''] = found;
  const right = Buffer.from(hash, 'base64');
  const tag = await argon2('argon2id', {
    message: Buffer.from(password),
    nonce: Buffer.from(salt, 'base64'),
    memory: Number(memory),
    passes: Number(passes),
    parallelism: Number(parallelism),
    tagLength: right.length,
  });
  return tag.length === right.length && crypto.timingSafeEqual(tag, right);
}

function plain(bytes: Buffer): string {
  return bytes.toString('base64').replaceAll('=', '');
}
