/** A job as its secret link shows it: to somebody without a token, who knows the secret and nothing else. */
import type { Readable } from 'node:stream';
import { PilotageError } from '../../ground/base/errors.ts';
import type { JobState } from '../../ground/base/job-state.ts';
import { parseTree, type TreeFile } from '../../ground/content/tree.ts';
import type { Principal } from '../access/principal.ts';
import { isResting } from '../core/service-job.ts';
import { sameHash, sha256 } from '../store/secrets.ts';
import type { LinkedJobRow } from '../store/verbs/linked-jobs.ts';
import { readBlob } from './files.ts';
import { readLogs } from './logs.ts';
import type { Parts } from './parts.ts';
import { listTasks } from './queries.ts';
import { readTreeText } from './trees.ts';
import { time, timeOrNull } from './views.ts';

export interface LinkFacts {
  readonly project: string;
  readonly number: string;
  readonly secret: string;
}

/** The same answer, after the same work, whether the job is unknown or the secret wrong: a look-up by its hash, and another. */
async function linked(parts: Parts, { project, number, secret }: LinkFacts): Promise<LinkedJobRow> {
  const at = { project, number };
  const row = await parts.store.findLinkedJob({ ...at, linkHash: sha256(secret) });
  if (row) return row;
  // The job is older than the key, or than this one: what was told then is another secret than what is told now.
  const job = await parts.store.linkOfJob(at);
  const isMade = sameHash(sha256(parts.links.secretOf({ uid: job?.uid ?? '' })), sha256(secret));
  const older = job && isMade ? await parts.store.findLinkedJob({ ...at, linkHash: job.link_hash }) : null;
  if (older) return older;
  throw new PilotageError(
    'not-found',
    'there is no such job, or the link is not whole: copy all of it, from the page or the mail that told it',
  );
}

/** Of a run that is spread over more tasks the first ones are shown. */
const SHOWN_TASKS = 50;

export async function viewLink(parts: Parts, link: LinkFacts) {
  const row = await linked(parts, link);
  const results = resultsOf(row);
  return {
    project: link.project,
    number: row.number,
    service: row.service,
    title: row.title,
    name: row.name,
    state: row.state,
    cancelling: row.wish === 'cancel',
    createdAt: time(row.created_at),
    startedAt: timeOrNull(row.started_at),
    finishedAt: timeOrNull(row.finished_at),
    progress: row.progress === null ? null : JSON.parse(row.progress),
    parameters: JSON.parse(row.parameters),
    labels: labelsOf(row),
    log: row.log,
    tasks: await tasksOf(parts, link, row),
    results: results && { files: results.files, bytes: results.bytes, until: timeOrNull(row.due_at) },
    message: results ? 'The results are there.' : messageOf(row),
    retryAfterSeconds: isOver(row) ? null : retryAfter(row),
  };
}

/** What the form calls them. */
function labelsOf({ schema, parameters }: LinkedJobRow): { name: string; label: string }[] {
  const { properties = {} } = JSON.parse(schema) as { properties?: Readonly<Record<string, { title?: unknown }>> };
  const given = Object.keys(JSON.parse(parameters) as object);
  const known = Object.keys(properties).filter((name) => given.includes(name));
  return [...known, ...given.filter((name) => !known.includes(name))].map((name) => {
    const title = properties[name]?.title;
    return { name, label: typeof title === 'string' && title !== '' ? title : name };
  });
}

interface Results {
  readonly tree: string;
  readonly files: number;
  readonly bytes: number;
}

/** Only while it is COMPLETED: in the archive they are not to be seen. */
function resultsOf(row: LinkedJobRow): Results | null {
  return row.state === 'COMPLETED' && row.settled === 1 && row.results !== null
    ? (JSON.parse(row.results) as Results)
    : null;
}

/** Nothing changes any more unless somebody does something. */
function isOver(row: LinkedJobRow): boolean {
  return (
    isResting(row.state) && row.state !== 'FAILED' && row.settled === 1 && row.intent === null && row.wish === null
  );
}

const SHORTEST_SECONDS = 5;
const LONGEST_SECONDS = 300;

/** What took long takes longer still. */
function retryAfter(row: LinkedJobRow): number {
  if (row.state === 'FAILED') return LONGEST_SECONDS;
  const age = (row.now - row.created_at) / 1000;
  return Math.round(Math.min(LONGEST_SECONDS, Math.max(SHORTEST_SECONDS, age / 10)));
}

const GONE: readonly JobState[] = ['ARCHIVED', 'EXPIRED', 'CANCELLED'];

function messageOf(row: LinkedJobRow): string {
  switch (row.state) {
    case 'FAILED':
      return 'The service failed at this job. Those who run it can mend what was wrong and begin it again: look again later.';
    case 'CANCELLED':
      return 'The job was cancelled: there are no results.';
    case 'ARCHIVED':
      return 'The results were archived, and are not shown any more: ask those who run the service.';
    case 'EXPIRED':
      return 'The results were removed after their time.';
    case 'COMPLETED':
      // One that was complete before results were put here has none.
      return row.settled === 1
        ? 'The job is complete, and its results are not shown here: ask those who run the service.'
        : 'The job is complete; its results are being put here.';
    default:
      return 'The job is not finished: its results will be here.';
  }
}

/** The results, or why there are none now (`not-ready`, with when to look again) or any more (`gone`). */
async function requireResults(parts: Parts, link: LinkFacts): Promise<{ row: LinkedJobRow; results: Results }> {
  const row = await linked(parts, link);
  const results = resultsOf(row);
  if (results) return { row, results };
  const message = messageOf(row);
  if (GONE.includes(row.state) || isOver(row)) throw new PilotageError('gone', message);
  throw new PilotageError('not-ready', message, { details: { retryAfterSeconds: retryAfter(row) } });
}

async function filesOf(parts: Parts, { tree }: Results): Promise<TreeFile[]> {
  const { entries } = parseTree(await readTreeText(parts, { digest: tree, name: 'the results' }));
  return entries.filter((entry) => 'digest' in entry);
}

export async function linkResults(parts: Parts, link: LinkFacts) {
  const { row, results } = await requireResults(parts, link);
  const files = (await filesOf(parts, results)).map(({ path, size }) => ({ path, size }));
  return { files, bytes: results.bytes, until: timeOrNull(row.due_at) };
}

export async function linkFile(parts: Parts, link: LinkFacts, path: string, start: number) {
  const { results } = await requireResults(parts, link);
  const file = (await filesOf(parts, results)).find((one) => one.path === path);
  if (file) return readBlob(parts, file.digest, start);
  throw new PilotageError('not-found', `the results have no file '${path}': the list of results says what there is`);
}

/** What goes into one archive; bytes are read when their turn comes. */
export async function linkFiles(parts: Parts, link: LinkFacts) {
  const { row, results } = await requireResults(parts, link);
  const files = await filesOf(parts, results);
  return {
    name: `job-${row.number}`,
    files: files.map(({ path, size, digest, mode }) => ({
      path,
      size,
      isExecutable: mode === 'executable',
      open: async (): Promise<Readable> => (await readBlob(parts, digest)).bytes,
    })),
  };
}

/** Somebody with the link reads what its job's tasks tell, and nothing else of the project. */
function readerOf({ project }: LinkFacts): Principal {
  return { name: 'link', tokenId: 0, scopes: ['read'], projects: [project] };
}

/** Before its hook has said what is to be run there is no run. */
function submissionsOf({ runner }: LinkedJobRow): readonly number[] {
  const run = JSON.parse(runner ?? 'null') as { steps?: readonly { submission: number }[] } | null;
  return (run?.steps ?? []).map(({ submission }) => submission);
}

async function tasksOf(parts: Parts, link: LinkFacts, row: LinkedJobRow) {
  const tasks: Pick<Awaited<ReturnType<typeof listTasks>>['tasks'][number], 'id' | 'state' | 'exitCode'>[] = [];
  for (const submission of submissionsOf(row)) {
    if (tasks.length >= SHOWN_TASKS) break;
    const limit = SHOWN_TASKS - tasks.length;
    const page = await listTasks(parts, readerOf(link), { project: link.project, submission }, { limit });
    tasks.push(...page.tasks.map(({ id, state, exitCode }) => ({ id, state, exitCode })));
  }
  return tasks;
}

const SHOWN_BYTES = 64 * 1024;

/** The end of what a task of the job has written. */
export async function linkLog(parts: Parts, link: LinkFacts, task: string, gone: AbortSignal): Promise<Buffer> {
  const row = await linked(parts, link);
  if (!submissionsOf(row).includes(Number(task.split('.')[0])))
    throw new PilotageError('not-found', `the job runs no task ${task}`);
  const wish = { attempt: undefined, streams: ['stdout', 'stderr'], follow: false };
  let end = Buffer.alloc(0);
  for await (const { data } of await readLogs(parts, readerOf(link), task, wish, gone))
    if (data !== undefined) end = Buffer.concat([end, Buffer.from(data, 'base64')]).subarray(-SHOWN_BYTES);
  return end;
}

export async function cancelLink(parts: Parts, link: LinkFacts): Promise<void> {
  const row = await linked(parts, link);
  const { wished, refused } = await parts.store.wishServiceJobs({
    projectId: row.project_id,
    wish: 'cancel',
    reason: 'whoever has its link said so',
    numbers: [row.number],
    serviceId: null,
  });
  if (refused.length > 0)
    throw new PilotageError('wrong-state', `the job is ${row.state}: it has ended, and stays as it ended`);
  for (const { service } of wished) parts.signals.service(service);
}
