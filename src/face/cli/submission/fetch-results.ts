import { randomUUID } from 'node:crypto';
import { mkdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import picomatch from 'picomatch';
import type { Client } from '../../../ground/client/client.ts';
import { downloadFile, type FileStore, placeTree, readTree } from '../../../ground/client/files.ts';
import { hashFile } from '../../../ground/content/hash-file.ts';
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
  const isWanted =
    fetching.name === undefined
      ? () => true
      : picomatch(fetching.name, { dot: true, basename: !fetching.name.includes('/') });
  const fetched: Fetched[] = [];
  const jobs = filesOf(fetching, isWanted, onTask);
  const lane = async (): Promise<void> => {
    for (let next = await jobs.next(); !next.done; next = await jobs.next())
      fetched.push(await fetchOne(fetching, next.value));
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return fetched;
}

interface Wanted {
  readonly task: string;
  readonly output: OutputFile;
  readonly directory: string;
}

async function* filesOf(
  fetching: Fetching,
  isWanted: (name: string) => boolean,
  onTask: (task: TaskOutputs) => void,
): AsyncGenerator<Wanted> {
  for await (const task of pagesOf(fetching)) {
    onTask(task);
    const directory = fetching.isTask ? fetching.to : path.join(fetching.to, String(task.index));
    for (const output of task.outputs) if (isWanted(output.name)) yield { task: task.id, output, directory };
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

async function fetchOne(
  { client, project, patience }: Fetching,
  { task, output, directory }: Wanted,
): Promise<Fetched> {
  const destination = path.join(directory, parseSafePath(output.name));
  const store = { client, project };
  await mkdir(path.dirname(destination), { recursive: true });
  const skipped =
    output.kind === 'tree'
      ? await fetchTree(store, output, { destination, patience })
      : await fetchFile(store, output, { destination, patience });
  const { name, size, digest } = output;
  return { task, name, path: destination, size, digest, skipped };
}

interface Place {
  readonly destination: string;
  readonly patience: Patience;
}

async function fetchFile(
  store: FileStore,
  wanted: { digest: string; size?: number; executable?: boolean },
  { destination, patience }: Place,
): Promise<boolean> {
  if (await isThere(destination, wanted)) return true;
  await repeat(() => downloadFile(store, wanted, destination), patience);
  return false;
}

async function fetchTree(store: FileStore, { digest }: OutputFile, { destination, patience }: Place): Promise<boolean> {
  const list = path.join(path.dirname(destination), `.tree-${randomUUID().slice(0, 8)}`);
  let skipped = true;
  try {
    await repeat(() => downloadFile(store, { digest }, list), patience);
    const { entries } = await readTree(list);
    await placeTree(entries, destination, async (wanted, file) => {
      if (!(await fetchFile(store, wanted, { destination: file, patience }))) skipped = false;
    });
    return skipped;
  } finally {
    await rm(list, { force: true });
  }
}

/** The size is compared first: most files that differ are not even read. */
async function isThere(file: string, { digest, size }: { digest: string; size?: number }): Promise<boolean> {
  try {
    const found = await stat(file);
    if (!found.isFile() || (size !== undefined && found.size !== size)) return false;
    return (await hashFile(file)).digest === digest;
  } catch {
    return false;
  }
}
