import { createReadStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { PilotageError } from '../../base/errors.ts';
import { inLanes } from '../../content/in-lanes.ts';
import { downloadFile } from '../download.ts';
import type { FileStore } from '../file-store.ts';
import { backupCalls } from './calls.ts';
import type { CopySource } from './copy-database.ts';
import { sizeOf, sync } from './layout.ts';

export interface ListedFile {
  readonly digest: string;
  readonly size: number;
}

/** Files that travel side by side. */
const LANES = 8;
const BATCH = 1000;

export interface FileCopy {
  readonly list: string;
  readonly pathOf: (digest: string) => string;
  /** Told after each file. `bytes`: what was new. */
  readonly onFile: (done: { files: number; bytes: number }) => void;
}

/**
 * Brings the listed files that are not there yet. All of them are on disk when it resolves, and so are their names, whoever
 * brought them: an earlier run may have been killed before it saw to that. Resolves with those that the server
 * has lost, and how many bytes were new.
 */
export async function copyFiles(
  source: CopySource,
  { list, pathOf, onFile }: FileCopy,
): Promise<{ lost: string[]; newBytes: number }> {
  const lost: string[] = [];
  const done = { files: 0, bytes: 0 };
  const directories = new Set<string>();
  const copyOne = async ({ digest, size }: ListedFile): Promise<void> => {
    const file = pathOf(digest);
    directories.add(path.dirname(file));
    if ((await sizeOf(file)) !== size) {
      await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
      if (await fetchFile(source, digest, file)) done.bytes += size;
      else lost.push(digest);
    }
    done.files += 1;
    onFile(done);
  };
  for await (const batch of batchesOf(list)) await inLanes(batch, LANES, copyOne);
  for (const directory of directories) await sync(directory);
  return { lost, newBytes: done.bytes };
}

/** False: the server does not have it any more. */
export async function fetchFile(source: CopySource, digest: string, file: string): Promise<boolean> {
  try {
    await downloadFile(fileStoreOf(source), { digest, permissions: '600' }, file);
  } catch (error) {
    if (error instanceof PilotageError && error.code === 'not-found') return false;
    throw error;
  }
  return true;
}

function fileStoreOf({ client, id, patience }: CopySource): FileStore {
  return {
    client,
    project: '',
    isDurable: true,
    ...(patience ? { patience } : {}),
    open: (digest, how) => client.stream(backupCalls.copyBlob, { params: { id, digest }, ...how }),
  };
}

/** The lines of a list of files, some at a time. */
export async function* batchesOf(list: string): AsyncGenerator<ListedFile[]> {
  let batch: ListedFile[] = [];
  for await (const line of createInterface({ input: createReadStream(list), crlfDelay: Number.POSITIVE_INFINITY })) {
    batch.push(parseLine(line));
    if (batch.length < BATCH) continue;
    yield batch;
    batch = [];
  }
  yield batch;
}

function parseLine(line: string): ListedFile {
  const match = /^([0-9a-f]{64}) (\d{1,15})$/.exec(line);
  if (!match)
    throw new PilotageError('bad-request', `the list of files is damaged: '${line.slice(0, 100)}' names none`);
  return { digest: match[1] as string, size: Number(match[2]) };
}
