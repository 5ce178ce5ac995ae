/** The built web pages. They are few and small, and kept in memory, packed: the server stays as it is without them. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';

export interface PageFile {
  readonly type: string;
  readonly etag: string;
  readonly plain: Buffer;
  readonly packed: Readonly<Record<'br' | 'gzip', Buffer>>;
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** By their path below the directory; none when nothing was built there. */
export function readPageFiles(directory: string): ReadonlyMap<string, PageFile> {
  if (!existsSync(directory)) return new Map();
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' });
  return new Map(
    names.flatMap((name) => {
      const type = TYPES[path.extname(name)];
      return type === undefined ? [] : [[name, toPageFile(type, readFileSync(path.join(directory, name)))] as const];
    }),
  );
}

function toPageFile(type: string, plain: Buffer): PageFile {
  const etag = `"${createHash('sha256').update(plain).digest('base64url').slice(0, 22)}"`;
  return { type, etag, plain, packed: { br: brotliCompressSync(plain), gzip: gzipSync(plain) } };
}
