import { createWriteStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import yauzl, { type Entry, type ZipFile } from 'yauzl';
import { messageOf, PilotageError, systemCode } from '../../base/errors.ts';

/** An export as it is read: by the names of its parts, of which none becomes a path here. */
export interface Archive {
  /** Bytes of each file, by their digests. */
  readonly blobs: ReadonlyMap<string, number>;
  /** Rejects where it is not in it, or larger than what it may be. */
  save(name: string, to: string, mostBytes?: number): Promise<void>;
  text(name: string, mostBytes: number): Promise<string>;
  close(): void;
}

const BLOB = /^blobs\/([0-9a-f]{64})$/;
const PARTS = new Set(['manifest.json', 'database.jsonl.gz', 'files.txt']);

/** Rejects with `bad-request` where it is no export, or holds what does not belong into one. */
export async function openArchive(file: string): Promise<Archive> {
  const zip = await yauzl.openPromise(file, { autoClose: false, strictFileNames: true }).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT')
      throw new PilotageError('not-found', `'${file}' is not there: name the file of an export`, { cause: error });
    throw notOne(file, messageOf(error), error);
  });
  const entries = new Map<string, Entry>();
  try {
    await readEntries(zip, (entry) => {
      const name = entry.fileName;
      if (!PARTS.has(name) && !BLOB.test(name)) throw notOne(file, `it holds '${name.slice(0, 100)}'`);
      if (entries.has(name)) throw notOne(file, `it holds '${name}' twice`);
      if (BLOB.test(name) && entry.compressedSize !== entry.uncompressedSize) throw notOne(file, `'${name}' is packed`);
      entries.set(name, entry);
    });
    for (const part of PARTS) if (!entries.has(part)) throw notOne(file, `it lacks '${part}'`);
  } catch (error) {
    zip.close();
    throw error instanceof PilotageError ? error : notOne(file, messageOf(error), error);
  }
  const open = async (name: string, mostBytes: number): Promise<Readable> => {
    const entry = entries.get(name);
    if (!entry) throw notOne(file, `it lacks '${name}'`);
    if (entry.uncompressedSize > mostBytes) throw notOne(file, `'${name}' is too large for what it is`);
    return zip.openReadStreamPromise(entry);
  };
  return {
    blobs: new Map(
      [...entries].flatMap(([name, entry]) => {
        const digest = BLOB.exec(name)?.[1];
        return digest === undefined ? [] : [[digest, entry.uncompressedSize] as const];
      }),
    ),
    async save(name, to, mostBytes = Number.MAX_SAFE_INTEGER) {
      const bytes = await open(name, mostBytes);
      await pipeline(bytes, createWriteStream(to, { mode: 0o600 })).catch((error: Error) => {
        throw bytes.errored ? notOne(file, error.message, error) : error;
      });
    },
    async text(name, mostBytes) {
      const pieces: Buffer[] = [];
      for await (const piece of await open(name, mostBytes)) pieces.push(piece as Buffer);
      return Buffer.concat(pieces).toString('utf8');
    },
    close: () => zip.close(),
  };
}

async function readEntries(zip: ZipFile, take: (entry: Entry) => void): Promise<void> {
  for await (const entry of zip.eachEntry()) take(entry);
}

function notOne(file: string, what: string, cause?: unknown): PilotageError {
  return new PilotageError('bad-request', `'${file}' is no export of a project, or damaged: ${what}`, { cause });
}
