import { randomUUID } from 'node:crypto';
import { type BigIntStats, constants } from 'node:fs';
import { chmod, copyFile, mkdir, stat, symlink } from 'node:fs/promises';
import path from 'node:path';
import { PilotageError } from '../../ground/base/errors.ts';
import type { Client } from '../../ground/client/client.ts';
import { uploadPath } from '../../ground/client/upload.ts';
import { directoryMode } from '../../ground/content/permissions.ts';
import { removeDirectory } from '../../ground/content/remove-directory.ts';
import { listDirectory } from '../../ground/content/scan-directory.ts';
import type { CheckpointReply, CheckpointRequest } from '../../ground/protocol/checkpoint.ts';
import type { OutputFile } from '../../ground/protocol/output-file.ts';
import { workerCalls } from '../../ground/protocol/worker-calls.ts';
import { findMatches, resolveOutput } from './collect-outputs.ts';
import { retryWhileAway } from './retry.ts';
import type { StagingJob } from './staging.ts';

/** Checkpoints of running attempts: copied while nothing writes, uploaded, and only then told to the server. */
export interface Checkpoints {
  /**
   * Copies what matches, in the order of the patterns, and uploads the copies. Nothing matches: no files. Rejects with
   * `wrong-state` when a file did not hold still while it was copied, however often that was tried.
   */
  capture(job: StagingJob, patterns: readonly string[]): Promise<OutputFile[]>;
  /** From here on a next attempt begins from these files, unless a newer attempt exists already. */
  commit(job: StagingJob, checkpoint: CheckpointRequest): Promise<CheckpointReply['answer']>;
}

export function createCheckpoints(client: Client, told: (project: string, why: string) => void): Checkpoints {
  const patiently = <T>({ project, signal }: StagingJob, act: () => Promise<T>): Promise<T> =>
    retryWhileAway(act, signal, (why) => told(project, why));
  return {
    capture: async (job, patterns) => {
      const directory = path.join(path.dirname(job.sandbox), `checkpoint-${randomUUID().slice(0, 8)}`);
      await mkdir(directory, { mode: 0o700 });
      try {
        const copies = await copyMatches(job.sandbox, patterns, directory);
        return await patiently(job, () => uploadAll({ client, project: job.project, signal: job.signal }, copies));
      } finally {
        await removeDirectory(directory);
      }
    },
    commit: async (job, body) => {
      const { signal } = job;
      return (await patiently(job, () => client.call(workerCalls.checkpoint, { body, signal }))).answer;
    },
  };
}

interface Copy {
  readonly name: string;
  readonly file: string;
}

async function copyMatches(sandbox: string, patterns: readonly string[], directory: string): Promise<Copy[]> {
  const copies = new Map<string, Copy>();
  for (const pattern of patterns)
    for (const name of await findMatches(sandbox, pattern)) {
      if (copies.has(name)) continue;
      const copy = { name, file: path.join(directory, String(copies.size)) };
      const source = await resolveOutput(sandbox, name);
      if ((await stat(source)).isDirectory()) await copyDirectory(source, copy.file);
      else await copyStill(source, copy.file);
      copies.set(name, copy);
    }
  return [...copies.values()];
}

async function copyDirectory(from: string, to: string): Promise<void> {
  await mkdir(to);
  const listed = await listDirectory(from);
  for (const entry of listed) {
    const destination = path.join(to, entry.path);
    await mkdir(path.dirname(destination), { recursive: true });
    if (entry.mode === 'directory') await mkdir(destination, { recursive: true });
    else if (entry.mode === 'symlink') await symlink(entry.target, destination);
    else await copyStill(path.join(from, entry.path), destination);
  }
  for (const entry of listed.toReversed())
    if (entry.mode === 'directory') await chmod(path.join(to, entry.path), directoryMode(entry));
  await chmod(to, (await stat(from)).mode & 0o777);
}

const TRIES = 5;

/** A copy of a file as it was at one moment: it is taken again when the file changed, or was replaced, meanwhile. */
async function copyStill(from: string, to: string): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    const before = await stat(from, { bigint: true });
    await copyFile(from, to, constants.COPYFILE_FICLONE);
    if (isSame(before, await stat(from, { bigint: true }))) return chmod(to, Number(before.mode) & 0o777);
    if (tries === TRIES)
      throw new PilotageError(
        'wrong-state',
        `'${path.basename(from)}' is written to all the time: a checkpoint has to hold still while it is copied. Have the program write it under another name and rename it when it is complete`,
      );
  }
}

function isSame(before: BigIntStats, after: BigIntStats): boolean {
  return (
    before.ino === after.ino &&
    before.size === after.size &&
    before.mtimeNs === after.mtimeNs &&
    before.ctimeNs === after.ctimeNs
  );
}

async function uploadAll(store: Parameters<typeof uploadPath>[0], copies: readonly Copy[]): Promise<OutputFile[]> {
  const files: OutputFile[] = [];
  for (const { name, file } of copies) files.push({ name, ...(await uploadPath(store, file)) });
  return files;
}
