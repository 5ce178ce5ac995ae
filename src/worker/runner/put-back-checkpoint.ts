import { rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { messageOf, PilotageError } from '../../ground/base/errors.ts';
import { parseSafePath, resolveInside } from '../../ground/content/safe-path.ts';
import type { Checkpoint } from '../../ground/protocol/checkpoint.ts';
import type { Staging, StagingJob } from '../staging/staging.ts';

/**
 * Puts the newest checkpoint that can be had into the sandbox, in place of what is there. One whose files cannot be had
 * costs an interval, not the run: the one before it is taken, or none. Undefined: the program begins anew.
 */
export async function putBackCheckpoint(
  staging: Staging,
  job: StagingJob,
  checkpoints: readonly Checkpoint[],
  told: (message: string) => void,
): Promise<Checkpoint | undefined> {
  for (const checkpoint of checkpoints) {
    const { attempt, number, files } = checkpoint;
    try {
      for (const { name } of files) await makeWay(job.sandbox, name);
      await staging.stage(
        job,
        files.map((file) => ({ ...file, writable: true })),
      );
      return checkpoint;
    } catch (error) {
      if (job.signal.aborted || !isItsOwnFault(error)) throw error;
      told(`its checkpoint ${attempt}.${number} cannot be put back: ${messageOf(error)}`);
      for (const { name } of files) await makeWay(job.sandbox, name);
    }
  }
  return undefined;
}

/** What is wrong with these files, rather than with this machine or the server. */
function isItsOwnFault(error: unknown): boolean {
  return error instanceof PilotageError && error.code !== 'storage-full';
}

/** An input may have the same name; and through a link nothing is removed elsewhere. */
async function makeWay(sandbox: string, name: string): Promise<void> {
  const plain = parseSafePath(name);
  const above = path.posix.dirname(plain);
  if (above !== '.') {
    // A file may have been an input where the program made a directory.
    await makeWayForDirectory(sandbox, above);
    if ((await resolveInside(sandbox, above)) === undefined) return;
  }
  await rm(path.join(sandbox, plain), { recursive: true, force: true });
}

async function makeWayForDirectory(sandbox: string, name: string): Promise<void> {
  const above = path.posix.dirname(name);
  if (above !== '.') await makeWayForDirectory(sandbox, above);
  const found = await resolveInside(sandbox, name);
  if (found !== undefined && !(await stat(found)).isDirectory()) await rm(path.join(sandbox, name));
}
