import { randomUUID } from 'node:crypto';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { PilotageError } from '../../../ground/base/errors.ts';
import type { JobDetail, JobView } from '../../../ground/protocol/job.ts';
import type { SiteRequest, TaskSpec } from '../../../ground/protocol/spec.ts';
import { calls } from '../calls.ts';
import { writeEvent } from '../commands/logs.ts';
import { exitCodeOfTask } from '../commands/run.ts';
import { defined } from '../defined.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { printJson } from '../output.ts';
import { repeat } from '../repeat.ts';
import { findSiteOrNote } from '../sites/note-unknown-site.ts';
import { fetchResults } from '../submission/fetch-results.ts';
import { findInputs } from '../submission/find-inputs.ts';
import { readLogs } from '../submission/follow-logs.ts';
import { fromFlags, type JobFlags } from '../submission/job-flags.ts';
import { byteProgress } from '../submission/progress.ts';
import { hashCacheOf, patienceOf } from '../submission/submit-job.ts';
import { toSpec } from '../submission/to-items.ts';
import { createUploader } from '../submission/uploader.ts';
import { reasonOf } from './reason-of.ts';

export interface RunJobOptions extends JobFlags {
  readonly site: string;
  readonly machine?: string;
  readonly user?: string;
  readonly programDirectory?: string;
  readonly projectDir?: string;
  readonly detach?: boolean;
}

/** A server that is away for so long is not waited for any more; the job goes on. */
const PATIENCE_SECONDS = 3600;
const SAY_AFTER_MS = 3000;
const LOOK_MS = 1000;

export async function runJob(invocation: Invocation, options: RunJobOptions): Promise<number> {
  const { command, context } = invocation;
  if (!command?.length)
    throw new PilotageError(
      'bad-request',
      "what is to be run? Write it behind '--': pilotage job run --site NAME -- COMMAND",
    );
  const directory = path.resolve(context.cwd, options.projectDir ?? '.');
  if (!(await stat(directory).catch(() => undefined))?.isDirectory())
    throw new PilotageError(
      'bad-request',
      `there is no directory '${directory}': name the project's own with --project-dir`,
    );
  const project = options.project ?? (context.env.PILOTAGE_PROJECT || 'default');
  const spec = await describe(invocation, options, { project, directory, command });
  const body = { ...defined({ name: options.name }), requestId: randomUUID(), spec };
  const client = invocation.client();
  const job = await repeat(() => client.call(calls.createJob, { params: { project }, body }), patienceOf(invocation));
  if (options.detach) {
    await invocation.print(
      job,
      () => `job ${job.number} at site ${options.site}: 'pilotage job show ${job.number}' tells how it goes`,
    );
    return EXIT.done;
  }
  await invocation.say(`job ${job.number} at site ${options.site} (Ctrl-C leaves it running)`);
  return follow(invocation, job, directory);
}

/** With files that are shared nothing is uploaded: they have to be there under the same names. */
async function describe(
  invocation: Invocation,
  options: RunJobOptions,
  { project, directory, command }: { project: string; directory: string; command: readonly string[] },
): Promise<TaskSpec> {
  const { context } = invocation;
  const known = await findSiteOrNote(invocation, options.site, 'if no agent elsewhere serves it, the job will wait');
  const step = fromFlags(options, command, { cwd: directory, now: context.now() });
  const { found, missing } = await findInputs(step.inputs ?? [], {});
  if (missing.length > 0)
    throw new PilotageError(
      'bad-request',
      `there is no '${missing.join("', '")}' in '${directory}': nothing was started`,
    );
  const isShared = known?.staging === 'shared';
  const site: SiteRequest = {
    name: options.site,
    projectDirectory: directory,
    ...defined({ machine: options.machine, user: options.user, programDirectory: options.programDirectory }),
    ...(isShared && found.length > 0 ? { inputs: found.map(({ name }) => name) } : {}),
  };
  const uploads = byteProgress(invocation, 'uploading');
  try {
    const client = invocation.client();
    const upload = createUploader(
      { client, project, patience: patienceOf(invocation) },
      { onProgress: uploads.update, ...defined({ hashCache: hashCacheOf(invocation) }) },
    );
    const { inputs: _shared, ...rest } = step;
    return { ...(await toSpec(isShared ? rest : step, upload)), site };
  } finally {
    uploads.stop();
  }
}

/** Its output as it comes, then its files; ends with the program's own code. Leaving it does nothing to the job. */
async function follow(invocation: Invocation, { number, project, task }: JobView, directory: string): Promise<number> {
  const client = invocation.client();
  const leaving = new AbortController();
  const stop = invocation.context.onInterrupt(() => leaving.abort());
  const patience = {
    seconds: PATIENCE_SECONDS,
    signal: leaving.signal,
    onOutage: () => void invocation.say('the server does not answer; the job goes on: trying again'),
    onReturn: () => void invocation.say('the server answers again'),
  };
  const id = task as string;
  const params = { project, number };
  const saying = sayWhatChanges(invocation, params);
  try {
    await readLogs(client, { id, follow: true }, { patience, onEvent: (event) => writeEvent(invocation, event) });
    const job = await repeat(() => client.call(calls.job, { params, signal: leaving.signal }), patience);
    const detail = await repeat(() => client.call(calls.task, { params: { id } }), patience);
    if (detail.outputs.length > 0)
      await fetchResults({ client, project, patience, id, to: directory, isTask: true }, () => {});
    if (invocation.json) await printJson(invocation.context.stdout, job);
    return await judge(invocation, job, exitCodeOfTask(detail));
  } catch (error) {
    if (!leaving.signal.aborted) throw error;
    await invocation.say(
      `job ${number} goes on: 'pilotage job show ${number}' tells how, 'pilotage job cancel ${number}' ends it`,
    );
    return EXIT.interrupted;
  } finally {
    stop();
    saying.stop();
  }
}

/** What a person who waits wants to know: that it waits for a password, in the queue, for a machine that is away. */
function sayWhatChanges(invocation: Invocation, params: { project: string; number: string }) {
  let said = '';
  let timer: NodeJS.Timeout | undefined;
  let isOver = false;
  const look = async (): Promise<void> => {
    const job: JobDetail | undefined = await invocation
      .client()
      .call(calls.job, { params })
      .catch(() => undefined);
    const text = (job && (await reasonOf(invocation, job))) ?? job?.detail ?? '';
    // The end came while it looked: another look would keep the process for ever.
    if (isOver) return;
    if (text !== '' && text !== said) await invocation.say(`job ${params.number}: ${text}`);
    said = text;
    timer = setTimeout(() => void look(), LOOK_MS);
  };
  timer = setTimeout(() => void look(), SAY_AFTER_MS);
  const stop = (): void => {
    isOver = true;
    clearTimeout(timer);
  };
  return { stop };
}

async function judge(invocation: Invocation, job: JobDetail, code: number): Promise<number> {
  if (job.state === 'COMPLETED') return EXIT.done;
  const reason = job.reason === 'exit-code' ? `exit code ${job.exitCode ?? 'unknown'}` : job.reason;
  await invocation.say(
    `job ${job.number} ${job.state}${reason === null ? '' : ` (${reason})`}${job.message === null ? '' : `: ${job.message}`}`,
  );
  return job.state === 'CANCELLED' ? EXIT.failed : code;
}
