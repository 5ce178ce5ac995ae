import { mkdir, realpath } from 'node:fs/promises';
import path from 'node:path';
import { PilotageError } from '../../ground/base/errors.ts';
import { downloadFile, downloadTree } from '../../ground/client/download.ts';
import type { FileStore } from '../../ground/client/file-store.ts';
import { transferAll } from '../../ground/client/transfer-all.ts';
import { parseSafePath } from '../../ground/content/safe-path.ts';
import type { OutputFile, TaskOutputs } from '../../ground/protocol/task.ts';
import { workerCalls } from '../../ground/protocol/worker-calls.ts';

/** A step that was submitted; `job` is its number where it is a job at a site. */
export interface StartedStep {
  readonly submission: number;
  readonly to: string;
  readonly isArray: boolean;
  readonly job?: string;
}

const PAGE = 1000;

/** Brings the files that the tasks of a run left into the job's directory. May be done again. */
export async function fetchOutputs(store: FileStore, directory: string, steps: readonly StartedStep[]): Promise<void> {
  for (const step of steps)
    for await (const task of tasksOf(store, step.submission)) {
      const to = step.isArray ? path.join(step.to, String(task.index)) : step.to;
      await transferAll(task.outputs, (output) => fetchOne(store, output, { root: directory, to }));
    }
}

async function* tasksOf(store: FileStore, submission: number): AsyncIterable<TaskOutputs> {
  for (let after: string | null | undefined; after !== null; ) {
    const query = { limit: PAGE, ...(after === undefined ? {} : { after }) };
    const page: { tasks: TaskOutputs[]; next: string | null } = await store.client.call(workerCalls.results, {
      params: { id: String(submission) },
      query,
      ...(store.signal ? { signal: store.signal } : {}),
    });
    yield* page.tasks;
    after = page.next;
  }
}

async function fetchOne(
  store: FileStore,
  output: OutputFile,
  { root, to }: { root: string; to: string },
): Promise<void> {
  const destination = path.join(root, to, parseSafePath(output.name));
  await mkdir(path.dirname(destination), { recursive: true });
  await requireInside(root, path.dirname(destination));
  if (output.kind === 'tree') await downloadTree(store, output, destination);
  else await downloadFile(store, output, destination);
}

/** A link that somebody put into the job's directory does not lead a result out of it. */
async function requireInside(root: string, directory: string): Promise<void> {
  const [top, real] = await Promise.all([realpath(root), realpath(directory)]);
  if (real === top || real.startsWith(`${top}/`)) return;
  throw new PilotageError(
    'bad-request',
    `a result cannot be put into '${directory}': it is a link that leads out of the job's directory`,
  );
}
