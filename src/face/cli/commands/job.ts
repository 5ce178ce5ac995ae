import { setTimeout as pause } from 'node:timers/promises';
import type { Command } from 'commander';
import { PilotageError } from '../../../ground/base/errors.ts';
import type { JobDetail, JobProcesses, JobView } from '../../../ground/protocol/job.ts';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { defined } from '../defined.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { describeJob, jobTable, processTable } from '../jobs/describe-job-view.ts';
import { reasonOf } from '../jobs/reason-of.ts';
import type { RunJobOptions } from '../jobs/run-job.ts';
import { type WishOptions, wishJobs } from '../jobs/service-jobs.ts';
import { SEVERAL } from '../option-sources.ts';
import { collect, collectList, collectPairs, duration, size, wholeNumber } from '../option-values.ts';
import { serviceJobCommands } from './service-jobs.ts';

interface InProject {
  readonly project?: string;
}

const PROJECT = 'the project (PILOTAGE_PROJECT; else default)';
/** Agents look at processes when they are asked, and tell so with their next exchange. */
const PROCESSES_WAIT_MS = 15_000;
/** A cancelled job's agent says what became of it there. */
const CANCEL_WAIT_MS = 60_000;
const LOOK_MS = 300;
/** Nobody waits longer without a word. */
const SAY_AFTER_MS = 2000;

export function jobCommand(define: Define): Command {
  const run = define('run', 'Run a command at a site, with just the files it needs: follow it, fetch its files', start)
    .usage('--site NAME [OPTIONS] -- COMMAND...')
    .requiredOption('--site <name>', "where: 'pilotage site list' shows your sites")
    .option('--machine <host>', 'this machine of the site; the one with the fewest jobs unless given')
    .option('--user <name>', 'your name there, if the SSH configuration does not say it')
    .option('--program-directory <dir>', "where the programs are there, instead of the site's own directory")
    .option('--project-dir <dir>', "the project's directory, in which the paths of the job lie; this one unless given")
    .option('-p, --project <name>', PROJECT)
    .option('-n, --name <name>', 'a name to find it by')
    .option('-i, --input <path[:name]>', `a file, directory or 'pattern*' that the program needs ${SEVERAL}`, collect)
    .option('-o, --output <pattern>', `a file that the program leaves; 'file?' need not be there ${SEVERAL}`, collect)
    .option('-e, --env <name=value>', `a variable of the program ${SEVERAL}`, collectPairs)
    .option('--cpus <n>', 'processor cores', wholeNumber())
    .option('--memory <size>', 'memory, as in 2GiB', size)
    .option('--gpus <n>', 'graphics processors', wholeNumber())
    .option('--time-limit <duration>', 'end the program after so long, as in 1h30m', duration)
    .option('--retries <n>', 'run a program that failed so often again', wholeNumber())
    .option('--detach', 'do not wait for it');
  const list = define('list', 'List jobs, newest first', listJobs)
    .option('-p, --project <name>', PROJECT)
    .option('--service <name>', 'only jobs of this service')
    .option('--state <state>', `only jobs of services in this state, as in FAILED ${SEVERAL}`, collectList);
  const show = define('show', 'Show one job with its record', showJob)
    .argument('<number>', 'the job')
    .option('-p, --project <name>', PROJECT);
  const ps = define('ps', 'Show the processes of running jobs, here and at their sites', listProcesses).option(
    '-p, --project <name>',
    PROJECT,
  );
  const cancel = define('cancel', 'Cancel jobs, down to the batch system, and say what really happened', cancelJobs)
    .argument('[numbers...]', 'the jobs')
    .option('-p, --project <name>', PROJECT)
    .option('--all-of <service>', 'all jobs of this service, in place of numbers')
    .option('--yes', 'do not ask');
  const record = define('record', "Print a job's fragment of the database, as it travels with the job", printRecord)
    .argument('<number>', 'the job')
    .option('-p, --project <name>', PROJECT);
  const job = define('job', 'Run jobs at sites and of services, and see how they go', undefined)
    .addCommand(run)
    .addCommand(list)
    .addCommand(show)
    .addCommand(ps)
    .addCommand(cancel)
    .addCommand(record);
  for (const command of serviceJobCommands(define)) job.addCommand(command);
  return job;
}

async function start(invocation: Invocation, options: RunJobOptions): Promise<number> {
  const { runJob } = await import('../jobs/run-job.ts');
  return runJob(invocation, options);
}

async function listJobs(
  invocation: Invocation,
  options: InProject & { service?: string; state?: readonly string[] },
): Promise<number> {
  const params = projectOf(invocation, options);
  const only = defined({ service: options.service, state: options.state?.join(',').toUpperCase() });
  const jobs: JobView[] = [];
  for (let after: string | null | undefined; after !== null; ) {
    const query = { ...only, ...(after === undefined ? {} : { after }) };
    const page: { jobs: JobView[]; next: string | null } = await invocation
      .client()
      .call(calls.jobs, { params, query });
    jobs.push(...page.jobs);
    after = page.next;
  }
  await invocation.printList(jobs, () => jobTable(jobs, invocation.context.now()));
  return EXIT.done;
}

async function showJob(invocation: Invocation, options: InProject, number: string): Promise<number> {
  const job = await getJob(invocation, options, number);
  const why = invocation.json ? undefined : await reasonOf(invocation, job);
  await invocation.print(job, () => describeJob(job, invocation.context.now(), why));
  return EXIT.done;
}

/** Waits a while for those that run to be looked at. */
async function listProcesses(invocation: Invocation, options: InProject): Promise<number> {
  const params = projectOf(invocation, options);
  const asked = invocation.context.now().getTime();
  const deadline = performance.now() + PROCESSES_WAIT_MS;
  const first = new Map<string, string | null>();
  // The agent's clock need not be ours: what is told anew is fresh whatever the clocks say.
  const isFresh = ({ number, phase, at }: JobProcesses): boolean => {
    if (!first.has(number)) first.set(number, at);
    return phase !== 'running' || (at !== null && (Date.parse(at) >= asked - LOOK_MS || at !== first.get(number)));
  };
  const say = sayLater(invocation, 'waiting for the agents to look at the processes');
  for (;;) {
    const jobs = await invocation.client().call(calls.jobProcesses, { params });
    if (jobs.filter((job) => !isFresh(job)).length === 0 || performance.now() > deadline) {
      await invocation.printList(jobs, () => processTable(jobs));
      return EXIT.done;
    }
    await say();
    await pause(LOOK_MS);
  }
}

/** Says once what is waited for, if that takes longer. */
function sayLater(invocation: Invocation, text: string): () => Promise<void> {
  const after = performance.now() + SAY_AFTER_MS;
  let isSaid = false;
  return async () => {
    if (isSaid || performance.now() < after) return;
    isSaid = true;
    await invocation.say(text);
  };
}

/** Of services, of sites, or both. */
async function cancelJobs(invocation: Invocation, options: WishOptions, numbers: string[]): Promise<number> {
  const all: JobDetail[] = [];
  for (const number of numbers) all.push(await getJob(invocation, options, number));
  const jobs = all.filter(({ service }) => service === null);
  const ofServices = all.filter(({ service }) => service !== null).map(({ number }) => number);
  const code =
    jobs.length === 0 || ofServices.length > 0 ? await wishJobs(invocation, options, 'cancel', ofServices) : EXIT.done;
  return jobs.length === 0 ? code : cancelAtSites(invocation, options, jobs);
}

async function cancelAtSites(invocation: Invocation, options: InProject, jobs: readonly JobDetail[]): Promise<number> {
  const targets = jobs.flatMap(({ task }) => (task === null ? [] : [task]));
  if (targets.length === 0)
    throw new PilotageError(
      'bad-request',
      'a sub-job cannot be cancelled by itself: cancel the job that it belongs to',
    );
  await invocation.client().call(calls.cancel, { body: { targets } });
  const ended: JobDetail[] = [];
  for (const { number, phase } of jobs) ended.push(await untilTold(invocation, options, number, phase !== null));
  await invocation.printList(ended, () =>
    ended.map((job) => `job ${job.number} ${job.state}: ${whatBecame(job)}\n`).join(''),
  );
  return EXIT.done;
}

/** At its site somebody has to end it, and says so in the record. */
async function untilTold(
  invocation: Invocation,
  options: InProject,
  number: string,
  wasThere: boolean,
): Promise<JobDetail> {
  const deadline = performance.now() + CANCEL_WAIT_MS;
  const say = sayLater(invocation, `waiting for its agent to say what became of job ${number} there`);
  for (;;) {
    const job = await getJob(invocation, options, number);
    if (!wasThere || job.state !== 'CANCELLED' || endNote(job) || performance.now() > deadline) return job;
    await say();
    await pause(LOOK_MS);
  }
}

function endNote({ entries }: JobDetail): string | undefined {
  const note = entries.findLast((entry) => entry.kind === 'note' && entry.text.startsWith('cancelled: '));
  return note?.kind === 'note' ? note.text.slice('cancelled: '.length) : undefined;
}

function whatBecame(job: JobDetail): string {
  if (job.state !== 'CANCELLED') return 'it had ended before, and stays as it ended';
  return (
    endNote(job) ??
    (job.site === null || job.attempt === 0
      ? 'it had not been sent out'
      : 'its agent has not said yet what became of it there')
  );
}

async function printRecord(invocation: Invocation, options: InProject, number: string): Promise<number> {
  const params = { ...projectOf(invocation, options), number };
  const record = await invocation.client().call(calls.jobRecord, { params });
  await invocation.print(record, () => JSON.stringify(record, undefined, 2));
  return EXIT.done;
}

function getJob(invocation: Invocation, options: InProject, number: string): Promise<JobDetail> {
  return invocation.client().call(calls.job, { params: { ...projectOf(invocation, options), number } });
}

function projectOf({ context }: Invocation, { project }: InProject): { project: string } {
  return { project: project ?? (context.env.PILOTAGE_PROJECT || 'default') };
}
