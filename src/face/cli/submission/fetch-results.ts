import { randomUUID } from 'node:crypto';
import { chmod, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import picomatch from 'picomatch';
import { messageOf, PilotageError } from '../../../ground/base/errors.ts';
import type { Client } from '../../../ground/client/client.ts';
import { downloadFile } from '../../../ground/client/download.ts';
import type { FileStore } from '../../../ground/client/file-store.ts';
import { placeTree, readTree } from '../../../ground/client/place-tree.ts';
import { ServerUnreachable } from '../../../ground/client/transport.ts';
import { hashFile } from '../../../ground/content/hash-file.ts';
import { makeDirectories } from '../../../ground/content/make-directories.ts';
import { type FilePermissions, fileMode } from '../../../ground/content/permissions.ts';
import { parseSafePath } from '../../../ground/content/safe-path.ts';
import type { OutputFile, TaskOutputs } from '../../../ground/protocol/task.ts';
import { calls } from '../calls.ts';
import { type Patience, repeat } from '../repeat.ts';

export interface Fetching {
  readonly client: Client;
  readonly project: string;
  readonly patience: Patience;
  readonly id: string;
  readonly attempt?: number;
  /** Only outputs whose name fits. */
  readonly name?: string;
  readonly to: string;
  /** A task's files go into `to` itself, else into a directory for each index. */
  readonly isTask: boolean;
  /** Told what has been fetched, of what is known by now. */
  readonly onProgress?: (sofar: FetchProgress) => void;
}

export interface FetchProgress {
  readonly bytes: number;
  readonly totalBytes: number;
  readonly files: number;
  readonly totalFiles: number;
}

export interface Fetched {
  readonly task: string;
  readonly name: string;
  readonly path: string;
  readonly size: number;
  readonly digest: string;
  /** It was there already, byte for byte. */
  readonly skipped: boolean;
}

/** Transfers side by side. */
const LANES = 4;
const PAGE = 1000;

/** Fetches the output files of a task or of all tasks of a submission. What is there already is left as it is. */
export async function fetchResults(fetching: Fetching, onTask: (task: TaskOutputs) => void): Promise<Fetched[]> {
  const fetched: Fetched[] = [];
  const meter = createMeter(fetching.onProgress);
  const jobs = filesOf(fetching, onTask, meter);
  let failed = false;
  const lane = async (): Promise<void> => {
    for (let next = await jobs.next(); !next.done && !failed; next = await jobs.next()) {
      try {
        fetched.push(await fetchOne(fetching, next.value, meter.begin()));
      } catch (error) {
        failed = true;
        throw named(error, next.value);
      }
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: LANES }, lane));
  for (const end of ended) if (end.status === 'rejected') throw end.reason;
  return fetched;
}

/** A failure says of which file. */
function named(error: unknown, { task, output }: Wanted): unknown {
  if (error instanceof ServerUnreachable) return error;
  const code = error instanceof PilotageError ? error.code : 'internal';
  return new PilotageError(code, `'${output.name}' of task ${task} could not be fetched: ${messageOf(error)}`, {
    cause: error,
  });
}

interface Meter {
  expect(output: OutputFile): void;
  begin(): OneFile;
}

/** Tells how far one output has come. */
interface OneFile {
  received(bytes: number): void;
  over(size: number): void;
}

function createMeter(onProgress: Fetching['onProgress']): Meter {
  const sofar = { bytes: 0, totalBytes: 0, files: 0, totalFiles: 0 };
  const add = (bytes: number): void => {
    sofar.bytes += bytes;
    onProgress?.({ ...sofar });
  };
  return {
    expect({ size }) {
      sofar.totalBytes += size;
      sofar.totalFiles += 1;
    },
    begin() {
      let counted = 0;
      return {
        received(bytes) {
          counted += bytes;
          add(bytes);
        },
        over(size) {
          sofar.files += 1;
          add(size - counted);
        },
      };
    },
  };
}

interface Wanted {
  readonly task: string;
  readonly output: OutputFile;
  readonly directory: string;
}

async function* filesOf(fetching: Fetching, onTask: (task: TaskOutputs) => void, meter: Meter): AsyncGenerator<Wanted> {
  const { name, isTask, to } = fetching;
  const isWanted = name === undefined ? () => true : picomatch(name, { dot: true, basename: !name.includes('/') });
  for await (const task of pagesOf(fetching)) {
    onTask(task);
    const wanted = task.outputs.filter((output) => isWanted(output.name));
    for (const output of wanted) meter.expect(output);
    const directory = isTask ? to : path.join(to, String(task.index));
    for (const output of wanted) yield { task: task.id, output, directory };
  }
}

async function* pagesOf({ client, id, attempt, patience }: Fetching): AsyncIterable<TaskOutputs> {
  let after: string | null = null;
  do {
    const query = { limit: PAGE, ...(attempt === undefined ? {} : { attempt }), ...(after === null ? {} : { after }) };
    const page: { tasks: TaskOutputs[]; next: string | null } = await repeat(
      () => client.call(calls.results, { params: { id }, query }),
      patience,
    );
    yield* page.tasks;
    after = page.next;
  } while (after !== null);
}

async function fetchOne(fetching: Fetching, { task, output, directory }: Wanted, meter: OneFile): Promise<Fetched> {
  const { client, project, patience } = fetching;
  const destination = path.join(directory, parseSafePath(output.name));
  const store = { client, project, patience };
  await makeDirectories(path.dirname(destination));
  const fetch = output.kind === 'tree' ? fetchTree : fetchFile;
  const skipped = await fetch(store, output, { destination, meter });
  const { name, size, digest } = output;
  meter.over(size);
  return { task, name, path: destination, size, digest, skipped };
}

interface Place {
  readonly destination: string;
  readonly meter: OneFile;
}

/** Resolves with whether it was there already. */
async function fetchFile(
  store: FileStore,
  wanted: { digest: string; size: number } & FilePermissions,
  { destination, meter }: Place,
): Promise<boolean> {
  if (await isThere(destination, wanted)) return true;
  let before = 0;
  const onReceived = (bytes: number): void => {
    meter.received(bytes - before);
    before = bytes;
  };
  await downloadFile(store, { ...wanted, onReceived }, destination);
  return false;
}

async function fetchTree(
  store: FileStore,
  { digest, permissions }: OutputFile,
  { destination, meter }: Place,
): Promise<boolean> {
  const list = path.join(path.dirname(destination), `.${randomUUID()}.tree`);
  let skipped = true;
  try {
    await downloadFile(store, { digest }, list);
    const { entries } = await readTree(list);
    await placeTree({ entries, permissions }, destination, async (wanted, file) => {
      if (!(await fetchFile(store, wanted, { destination: file, meter }))) skipped = false;
    });
    return skipped;
  } finally {
    await rm(list, { force: true });
  }
}

/** The size is compared first: most files that differ are not even read. What may be done with a right one is set right. */
async function isThere(file: string, wanted: { digest: string; size: number } & FilePermissions): Promise<boolean> {
  try {
    const found = await stat(file);
    if (!found.isFile() || found.size !== wanted.size) return false;
    if ((await hashFile(file)).digest !== wanted.digest) return false;
    if ((found.mode & 0o777) !== fileMode(wanted)) await chmod(file, fileMode(wanted));
    return true;
  } catch {
    return false;
  }
}
