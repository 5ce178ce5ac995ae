import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { type Readable, Transform, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { PilotageError } from '../../base/errors.ts';
import type { Client } from '../client.ts';
import { STALL_SECONDS } from '../file-store.ts';
import { type Patience, patiently } from '../patience.ts';
import { stallWatch } from '../stall-watch.ts';
import { ServerUnreachable } from '../transport.ts';
import { backupCalls } from './calls.ts';

export interface CopiedDatabase {
  readonly rows: number;
  /** What has to be copied, also what the server takes for lost: it may have it again. */
  readonly files: number;
  readonly bytes: number;
  readonly gone: readonly string[];
}

export interface CopySource {
  readonly client: Client;
  /** Of the backup or export. */
  readonly id: string;
  readonly patience?: Patience;
}

/**
 * Fetches the rows into one file, compressed, and the list of the files that they refer to into another one. Begins again
 * after a break, and while the server has too many readers.
 */
export function copyDatabase(
  source: CopySource,
  to: { readonly database: string; readonly files: string },
): Promise<CopiedDatabase> {
  let bytes = 0;
  const onBytes = (more: number): void => {
    bytes += more;
  };
  const again = (error: unknown): boolean => error instanceof PilotageError && error.code === 'busy';
  return patiently(() => copyOnce(source, to, onBytes), { ...source, progress: () => bytes, again });
}

async function copyOnce(
  { client, id }: CopySource,
  to: { readonly database: string; readonly files: string },
  onBytes: (more: number) => void,
): Promise<CopiedDatabase> {
  const watch = stallWatch(STALL_SECONDS, undefined);
  const list = createWriteStream(to.files, { mode: 0o600 });
  const sum = { rows: -1, files: 0, bytes: 0, gone: [] as string[] };
  // Told where it is waited for, and at the end.
  list.on('error', () => undefined);
  let body: Readable | undefined;
  const moved = (piece: Buffer): void => {
    watch.moved();
    onBytes(piece.length);
  };
  try {
    body = await client.stream(backupCalls.copyDatabase, { params: { id }, signal: watch.signal });
    const looked = lookInto(sum, moved, (line) => list.write(line) || once(list, 'drain'));
    await pipeline(body, looked, createGzip({ level: 4 }), createWriteStream(to.database, { mode: 0o600 }));
    await endOf(list);
    if (list.errored) throw list.errored;
    if (sum.rows < 0) throw new ServerUnreachable('the server', new Error('the copy of the database broke off'));
    return sum;
  } catch (error) {
    throw watch.explain(body && body.errored !== null ? new ServerUnreachable('the server', error) : error);
  } finally {
    watch.end();
    await endOf(list);
  }
}

async function endOf(stream: Writable): Promise<void> {
  if (stream.destroyed) return;
  stream.end();
  await once(stream, 'close');
}

const NEWLINE = 0x0a;
const BRACE = 0x7b;

/** Passes everything on, and sees which files are listed at its end, and whether it is whole. */
function lookInto(
  sum: { rows: number; files: number; bytes: number; gone: string[] },
  moved: (piece: Buffer) => void,
  keep: (line: string) => unknown,
): Transform {
  let rest: Buffer = Buffer.alloc(0);
  let isList = false;
  const take = async (line: Buffer): Promise<void> => {
    if (line[0] === BRACE) {
      const head = JSON.parse(line.toString('utf8')) as { files?: unknown; end?: number };
      isList = head.files !== undefined;
      if (head.end !== undefined) sum.rows = head.end;
    } else if (isList) {
      const [digest, size, gone] = JSON.parse(line.toString('utf8')) as [string, number, number];
      if (gone === 1) sum.gone.push(digest);
      sum.files += 1;
      sum.bytes += size;
      await keep(`${digest} ${size}\n`);
    }
  };
  return new Transform({
    async transform(piece: Buffer, _encoding, done) {
      moved(piece);
      try {
        rest = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
        let from = 0;
        for (let at = rest.indexOf(NEWLINE); at >= 0; at = rest.indexOf(NEWLINE, from)) {
          if (isList || rest[from] === BRACE) await take(rest.subarray(from, at));
          from = at + 1;
        }
        rest = rest.subarray(from);
        done(null, piece);
      } catch (error) {
        done(error as Error);
      }
    },
  });
}
