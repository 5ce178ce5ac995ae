import type { Client } from '../../ground/client/client.ts';
import { workerCalls } from '../../ground/protocol/worker-calls.ts';
import { type Directories, type FoundDirectory, findJobDirectories } from './directories.ts';

const ASK = 1000;

/**
 * Directories that look like a job's of this service and belong to none where they are. They are reported, and left
 * alone: somebody may need what is in them. Jobs in hand may be just moving.
 */
export async function findOrphans(
  client: Client,
  at: { readonly project: string; readonly service: string },
  { directories, isInHand }: { directories: Directories; isInHand: (number: string) => boolean },
): Promise<string[]> {
  const found = (await findJobDirectories(directories)).filter(({ number }) => !isInHand(number));
  const orphans: string[] = [];
  for (let from = 0; from < found.length; from += ASK) {
    const some = found.slice(from, from + ASK);
    const numbers = [...new Set(some.map(({ number }) => number))];
    const { jobs } = await client.call(workerCalls.knownServiceJobs, { params: at, body: { jobs: numbers } });
    const known = new Map(jobs.map((job) => [job.number, job]));
    const isOrphan = ({ path, number, id }: FoundDirectory): boolean => {
      const job = known.get(number);
      return !job?.uid.startsWith(id) || job.directory !== path;
    };
    orphans.push(...some.filter(isOrphan).map(({ path }) => path));
  }
  return orphans;
}
