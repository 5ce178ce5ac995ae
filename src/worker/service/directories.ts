import { mkdir, readdir } from 'node:fs/promises';
import path from 'node:path';
import { messageOf, PilotageError } from '../../ground/base/errors.ts';
import type { JobState } from '../../ground/protocol/job-state.ts';

/** Where the jobs of each state are; EXPIRED has none. */
export type Directories = Readonly<Record<Exclude<JobState, 'EXPIRED'>, string>>;

/** A job's directory is called so wherever it is: no other job, of whatever server, has that name. */
export function directoryName({ number, uid }: { readonly number: string; readonly uid: string }): string {
  return `job-${number}-${uid.slice(0, 8)}`;
}

/** Where a job's directory has to be in a state. One that is resubmitted is prepared again where it is prepared. */
export function placeOf(
  directories: Directories,
  state: JobState,
  job: { readonly number: string; readonly uid: string },
): string | null {
  if (state === 'EXPIRED') return null;
  return path.join(directories[state === 'INCOMING' ? 'PREPROCESSING' : state], directoryName(job));
}

/**
 * Is this where a job of this service may be: in one of its directories, with the job's name, or one in the incoming
 * directory that was handed over with it? Such a one stays the job's when it could not be moved from there.
 */
export function isOwn(
  directories: Directories,
  job: { readonly number: string; readonly uid: string },
  directory: string,
): boolean {
  const [above, name] = [path.dirname(directory), path.basename(directory)];
  if (name === directoryName(job)) return Object.values(directories).includes(above);
  return above === directories.INCOMING && !name.startsWith('.');
}

export async function makeDirectories(directories: Directories): Promise<void> {
  for (const directory of new Set(Object.values(directories)))
    try {
      await mkdir(directory, { recursive: true });
    } catch (error) {
      const states = Object.entries(directories).filter(([, one]) => one === directory);
      throw new PilotageError(
        'bad-request',
        `the directory '${directory}' (${states.map(([state]) => state.toLowerCase()).join(', ')}) is not there and cannot be made: ${messageOf(error)}: correct 'directories' in service.yaml, or make it`,
        { cause: error },
      );
    }
}

/** What looks like a job's directory, or like a leftover of one; what somebody else put there is nobody's business here. */
export async function findJobDirectories(directories: Directories): Promise<readonly FoundDirectory[]> {
  const found: FoundDirectory[] = [];
  for (const directory of new Set(Object.values(directories)))
    for (const name of await readdir(directory).catch(() => [])) {
      const [, number, id] = /^\.?job-([0-9.]+)-([0-9a-f]{8})(?:\.part|\.gone)?$/.exec(name) ?? [];
      if (number !== undefined && id !== undefined) found.push({ path: path.join(directory, name), number, id });
    }
  return found;
}

/** `id` is the beginning of the job's uid. */
export interface FoundDirectory {
  readonly path: string;
  readonly number: string;
  readonly id: string;
}
