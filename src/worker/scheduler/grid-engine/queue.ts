import { ask, innerSeconds, sectionOf, silent } from '../answer.ts';
import type { BatchId, BatchName, BatchRef, BatchStatus } from '../scheduler.ts';
import type { Shell } from '../shell.ts';
import { number, pollCommand, queueCommand } from './commands.ts';
import { readQacct } from './read-accounting.ts';
import { type QueuedJob, readQstat, readReasons, readVerification, statusOf } from './read-queue.ts';

export async function pollGridEngine(
  shell: Shell,
  jobs: readonly BatchRef[],
  timeoutMs: number,
): Promise<Map<BatchId, BatchStatus>> {
  if (jobs.length === 0) return new Map();
  const sections = { queue: pollCommand(jobs, innerSeconds(timeoutMs / 2)) };
  const answer = await ask(shell, { what: 'qstat', sections, timeoutMs });
  const { code, stdout } = sectionOf(answer, 'queue');
  const [queue = '', rest = ''] = stdout.split(/^@reasons$/m);
  const [reasons = '', verified = ''] = rest.split(/^@verified$/m);
  const known = wholeQueue(code, queue, answer.stderr);
  const waiting = { words: readReasons(reasons), impossible: readVerification(verified) };
  return new Map(
    jobs.map((job) => {
      const entry = findEntry(known, job);
      return [job.id, entry ? statusOf(entry, waiting) : { state: 'gone' }];
    }),
  );
}

/** Ids wrap at 9,999,999: under another name it is another job. */
export function findEntry(queue: readonly QueuedJob[], job: BatchRef): QueuedJob | undefined {
  return queue.findLast(({ id, name }) => id === number(job.id) && name === job.name);
}

export function wholeQueue(code: number, text: string, stderr: string): QueuedJob[] {
  const queue = code === 0 ? readQstat(text) : undefined;
  if (!queue) throw silent('qstat', code === 0 ? 'no whole answer' : `exit code ${code}`, stderr || text);
  return queue;
}

/** Of the last week where the accounting file can be read from here: what qstat may have forgotten. */
const ACCOUNTED = `qacct -d 7 -o "$(id -un)" -j 'pilotage-*' 2>/dev/null | awk '/^job(name|number) /; /^====/'`;

export async function findOnGridEngine(
  shell: Shell,
  names: readonly BatchName[],
  timeoutMs: number,
): Promise<Map<BatchName, BatchId>> {
  if (names.length === 0) return new Map();
  const inner = innerSeconds(timeoutMs / 2);
  const sections = { queue: queueCommand(inner), accounts: `within ${inner} ${ACCOUNTED}` };
  const answer = await ask(shell, { what: 'qstat', sections, timeoutMs });
  const { code, stdout } = sectionOf(answer, 'queue');
  const accounted = readQacct(sectionOf(answer, 'accounts').stdout).map((record) => ({
    id: record.get('jobnumber')!,
    name: record.get('jobname') ?? '',
  }));
  const wanted = new Set<string>(names);
  const known = [...accounted, ...wholeQueue(code, stdout, answer.stderr)].filter(({ name }) => wanted.has(name));
  return new Map(known.map(({ id, name }) => [name as BatchName, id as BatchId]));
}
