import { setTimeout as pause } from 'node:timers/promises';
import { PilotageError } from '../../ground/base/errors.ts';
import type { Client } from '../../ground/client/client.ts';
import type { SubmissionView } from '../../ground/protocol/submission.ts';
import type { TaskView } from '../../ground/protocol/task.ts';
import { workerCalls } from '../../ground/protocol/worker-calls.ts';
import { endOfOutput } from './end-of-output.ts';
import { fetchOutputs, type StartedStep } from './fetch-outputs.ts';
import type { PlannedRun, PlannedStep } from './plan-run.ts';
import { mayPass } from './reporter.ts';
import { sendInputs } from './send-inputs.ts';

export interface RunPlace {
  readonly client: Client;
  readonly project: string;
  /** The job's directory. */
  readonly directory: string;
  /** Made of the job and the number of its run: whatever is submitted again under it is what was submitted before. */
  readonly requestId: string;
  readonly signal: AbortSignal;
}

export type RunEnd =
  | { readonly ok: true; readonly tasks: readonly string[] }
  /** `output`: what the first task that did not succeed wrote last. */
  | { readonly ok: false; readonly message: string; readonly output: string | undefined };

/** So long transfers go on trying; then the job has failed. */
const PATIENCE = { seconds: 3600 };
const WAIT_SECONDS = 30;
/** The first look: whoever waits for a worker is to be told why. */
const SOON_SECONDS = 3;
/** Of a job at a site more is to be seen than whether it has ended. */
const SITE_WAIT_SECONDS = 5;
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 10_000;

/** Submits a run. Done again after a crash it finds what it submitted before. */
export async function startRun(place: RunPlace, plan: PlannedRun): Promise<StartedStep[]> {
  const store = { ...place, patience: PATIENCE };
  const specs: { step: PlannedStep; spec: PlannedStep['spec'] }[] = [];
  for (const step of plan.steps) {
    const inputs = await sendInputs(store, place.directory, step);
    specs.push({ step, spec: { ...step.spec, ...(inputs.length === 0 ? {} : { inputs }) } });
  }
  if (plan.at === 'site') {
    const started: StartedStep[] = [];
    for (const [at, { step, spec }] of specs.entries()) started.push(await startAtSite(place, { step, spec, at }));
    return started;
  }
  const { client, project, requestId, signal } = place;
  const steps = specs.map(({ step, spec }) => ({ spec, ...(step.array ? { array: step.array } : {}) }));
  const body = { project, requestId, steps };
  const { submissions } = await untilAnswered(() => client.call(workerCalls.submit, { body, signal }), signal);
  return submissions.map(({ id }, at) => ({
    submission: id,
    to: specs[at]?.step.to ?? '.',
    isArray: specs[at]?.step.array !== undefined,
  }));
}

async function startAtSite(
  { client, project, requestId, signal }: RunPlace,
  { step, spec, at }: { step: PlannedStep; spec: PlannedStep['spec']; at: number },
): Promise<StartedStep> {
  const body = { requestId: `${requestId}-${at}`, spec };
  const job = await untilAnswered(
    () => client.call(workerCalls.createJob, { params: { project }, body, signal }),
    signal,
  );
  return { submission: Number(job.task?.split('.')[0]), to: step.to, isArray: false, job: job.number };
}

/** Waits for the end of all tasks, judges by them, and fetches what they left. */
export async function awaitRun(
  place: RunPlace,
  steps: readonly StartedStep[],
  onProgress: (progress: { fraction: number; message: string }) => void,
): Promise<RunEnd> {
  const views: SubmissionView[] = [];
  for (const step of steps)
    views.push(
      await awaitSubmission(place, step, (view, said) => {
        const { fraction, message } = shareOf(views, view, steps);
        onProgress({ fraction, message: said === undefined ? message : `${message}; ${said}` });
      }),
    );
  const failed = views.filter(({ tasks, counts }) => counts.succeeded < tasks);
  if (failed.length > 0) return { ok: false, ...(await whatFailed(place, views, failed)) };
  await untilAnswered(() => fetchOutputs({ ...place, patience: PATIENCE }, place.directory, steps), place.signal);
  return { ok: true, tasks: views.map(({ id }) => String(id)) };
}

async function awaitSubmission(
  place: RunPlace,
  { submission, job }: StartedStep,
  onChange: (view: SubmissionView, said: string | undefined) => void,
): Promise<SubmissionView> {
  const { client, signal } = place;
  let waitSeconds = SOON_SECONDS;
  for (;;) {
    const view = await untilAnswered(
      () =>
        client.call(workerCalls.submission, {
          params: { id: submission },
          query: { waitSeconds },
          timeoutSeconds: waitSeconds + 30,
          signal,
        }),
      signal,
    );
    // What begins at once needs no more looks than one at its end.
    waitSeconds = job === undefined ? WAIT_SECONDS : SITE_WAIT_SECONDS;
    onChange(view, view.finished ? undefined : await (job === undefined ? whyNot(place, view) : whereIs(place, job)));
    if (view.finished) return view;
  }
}

/** Why none of the tasks runs, in the pool's words: no worker may be large enough, and none ever come. */
async function whyNot({ client, signal }: RunPlace, { id, counts }: SubmissionView): Promise<string | undefined> {
  if (counts.running > 0 || counts.queued === 0) return undefined;
  const { reasons } = await untilAnswered(
    () => client.call(workerCalls.why, { params: { id: String(id) }, signal }),
    signal,
  );
  return reasons[0]?.text;
}

/** What its agent says of a job at a site: a queue may be long, and a batch system may say why it will not start. */
async function whereIs({ client, project, signal }: RunPlace, number: string): Promise<string | undefined> {
  const { site, phase, detail } = await untilAnswered(
    () => client.call(workerCalls.job, { params: { project, number }, signal }),
    signal,
  );
  return phase === null ? undefined : `${phase} at ${site}${detail === null ? '' : `: ${detail}`}`;
}

function shareOf(done: readonly SubmissionView[], view: SubmissionView, steps: readonly StartedStep[]) {
  const ended = view.counts.succeeded + view.counts.failed + view.counts.cancelled;
  const message = `${ended} of ${view.tasks} ${view.tasks === 1 ? 'task' : 'tasks'}${steps.length === 1 ? '' : `, part ${done.length + 1} of ${steps.length}`}`;
  return { fraction: (done.length + ended / view.tasks) / steps.length, message };
}

async function whatFailed(
  place: RunPlace,
  all: readonly SubmissionView[],
  failed: readonly SubmissionView[],
): Promise<{ message: string; output: string | undefined }> {
  const tasks = all.reduce((sum, view) => sum + view.tasks, 0);
  const count = failed.reduce((sum, { tasks: of, counts }) => sum + of - counts.succeeded, 0);
  const [first] = failed;
  const page = await firstBad(place, first?.id ?? 0);
  const said =
    page === undefined
      ? ''
      : `: task ${page.id} ${page.state}${reasonOf(page)}${await saidOf(place, page.id)}. 'pilotage logs ${page.id}' shows what it wrote`;
  return {
    message: `${count} of ${tasks} ${tasks === 1 ? 'task' : 'tasks'} did not succeed${said}`,
    output: page?.state === 'failed' ? await endOfOutput(place.client, page.id, place.signal) : undefined,
  };
}

function reasonOf({ reason, exitCode }: TaskView): string {
  if (reason === null) return '';
  return ` (${reason}${exitCode === null ? '' : `, exit code ${exitCode}`})`;
}

/** Why, as whoever ran it told. */
async function saidOf({ client, signal }: RunPlace, id: string): Promise<string> {
  const { attempts } = await untilAnswered(() => client.call(workerCalls.task, { params: { id }, signal }), signal);
  const message = attempts.at(-1)?.message;
  return message ? `: ${message.replace(/\.$/, '')}` : '';
}

async function firstBad({ client, project, signal }: RunPlace, submission: number): Promise<TaskView | undefined> {
  for (const state of ['failed', 'cancelled'] as const) {
    const query = { project, submission, state, limit: 1 };
    const { tasks } = await untilAnswered(() => client.call(workerCalls.tasks, { query, signal }), signal);
    if (tasks[0]) return tasks[0];
  }
  return undefined;
}

/** Down to the batch system: the agents of jobs at sites end them there. What has ended already stays as it is. */
export async function cancelRun(
  { client, project, signal }: Omit<RunPlace, 'directory' | 'requestId'>,
  steps: readonly StartedStep[],
): Promise<void> {
  const body = { project, targets: steps.map(({ submission }) => String(submission)) };
  try {
    await untilAnswered(() => client.call(workerCalls.cancel, { body, signal }), signal);
  } catch (error) {
    if (!(error instanceof PilotageError && (error.code === 'not-found' || error.code === 'wrong-state'))) throw error;
  }
}

/** Asks again, however long the server is away. */
async function untilAnswered<T>(act: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let wait = FIRST_PAUSE_MS; ; wait = Math.min(2 * wait, LONGEST_PAUSE_MS)) {
    try {
      return await act();
    } catch (error) {
      if (signal.aborted || !mayPass(error)) throw error;
      await pause(wait, undefined, { signal });
    }
  }
}
