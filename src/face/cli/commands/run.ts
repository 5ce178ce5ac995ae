import os from 'node:os';
import type { Command } from 'commander';
import { PilotageError } from '../../../ground/base/errors.ts';
import type { TaskDetail } from '../../../ground/protocol/task.ts';
import type { FailureReason } from '../../../ground/protocol/task-state.ts';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { printJson } from '../output.ts';
import { repeat } from '../repeat.ts';
import { describeJob } from '../submission/describe-job.ts';
import { fetchResults } from '../submission/fetch-results.ts';
import { readLogs } from '../submission/follow-logs.ts';
import { addJobFlags, type JobFlags } from '../submission/job-flags.ts';
import { submitJob } from '../submission/submit-job.ts';
import { writeEvent } from './logs.ts';

/** A server that is away for so long is not waited for any more. */
const PATIENCE_SECONDS = 3600;
/** A task that does not start soon is explained to the one who waits for it. */
const EXPLAIN_AFTER_SECONDS = 5;

export function runCommand(define: Define): Command {
  return addJobFlags(
    define('run', 'Run a command as a task: follow its output, fetch its files, end with its exit code', run).usage(
      '[OPTIONS] -- COMMAND...',
    ),
  );
}

async function run(invocation: Invocation, options: JobFlags): Promise<number> {
  if (!invocation.command)
    throw new PilotageError('bad-request', "what is to be run? Write it behind '--': pilotage run -- COMMAND");
  const job = await describeJob(undefined, options, invocation);
  const [submission] = await submitJob(job, invocation, { project: options.project, strict: options.strict === true });
  if (!submission) throw new PilotageError('internal', 'the server accepted the task without saying its number');
  const id = `${submission.id}.1`;
  const leaving = cancelOnInterrupt(invocation, id);
  try {
    const task = await follow(invocation, id, leaving.signal);
    await fetch(invocation, task);
    if (invocation.json) await printJson(invocation.context.stdout, task);
    return await judge(invocation, task, leaving.wasAsked());
  } catch (error) {
    if (leaving.signal.aborted) return EXIT.interrupted;
    throw error;
  } finally {
    leaving.stop();
  }
}

/** The first Ctrl-C cancels the task and goes on until it has ended; the second leaves at once. */
function cancelOnInterrupt(invocation: Invocation, id: string) {
  const leaving = new AbortController();
  let asked = false;
  const stop = invocation.context.onInterrupt(() => {
    if (asked) return leaving.abort();
    asked = true;
    void invocation.say(`cancelling ${id} (Ctrl-C again leaves at once)`);
    invocation
      .client()
      .call(calls.cancel, { body: { targets: [id] } })
      .catch((error: Error) => invocation.say(`${id} was not cancelled: ${error.message}`));
  });
  return { signal: leaving.signal, wasAsked: () => asked, stop };
}

async function follow(invocation: Invocation, id: string, signal: AbortSignal): Promise<TaskDetail> {
  const client = invocation.client();
  const patience = {
    seconds: PATIENCE_SECONDS,
    signal,
    onOutage: () => void invocation.say('the server does not answer; the task goes on, and so does this: trying again'),
    onReturn: () => void invocation.say('the server answers again'),
  };
  const explaining = setTimeout(() => void explain(invocation, id).catch(() => {}), EXPLAIN_AFTER_SECONDS * 1000);
  try {
    await readLogs(client, { id, follow: true }, { patience, onEvent: (event) => writeEvent(invocation, event) });
    return await repeat(() => client.call(calls.task, { params: { id }, signal }), patience);
  } finally {
    clearTimeout(explaining);
  }
}

async function explain(invocation: Invocation, id: string): Promise<void> {
  const { state, reasons } = await invocation.client().call(calls.why, { params: { id } });
  if (state === 'waiting' || state === 'queued')
    await invocation.say(`${id} is ${state}: ${reasons[0]?.text ?? 'it has not been claimed yet'}`);
}

async function fetch(invocation: Invocation, task: TaskDetail): Promise<void> {
  if (task.outputs.length === 0) return;
  const { id, project } = task;
  const patience = { seconds: PATIENCE_SECONDS };
  await fetchResults(
    { client: invocation.client(), project, id, patience, to: invocation.context.cwd, isTask: true },
    () => {},
  );
}

/** As a shell would tell it. */
const CODES: Partial<Record<FailureReason, number>> = {
  'command-not-found': 127,
  'command-not-executable': 126,
  'worker-lost': EXIT.ours,
  'worker-ended': EXIT.ours,
  'input-failed': EXIT.ours,
  'output-failed': EXIT.ours,
  'start-failed': EXIT.ours,
};

async function judge(invocation: Invocation, task: TaskDetail, wasCancelled: boolean): Promise<number> {
  if (task.state === 'succeeded') return EXIT.done;
  if (task.state === 'cancelled') {
    if (!wasCancelled) await invocation.say(`${task.id} was cancelled`);
    return wasCancelled ? EXIT.interrupted : EXIT.failed;
  }
  if (task.reason !== 'exit-code')
    await invocation.say(`${task.id} failed (${task.reason}): ${task.message ?? `see 'pilotage why ${task.id}'`}`);
  return exitCodeOfTask(task);
}

/** The program's own code; 128 and the number of the signal that ended it; or what its failure stands for. */
export function exitCodeOfTask({
  reason,
  exitCode,
  signal,
}: Pick<TaskDetail, 'reason' | 'exitCode' | 'signal'>): number {
  const fixed = CODES[reason as FailureReason];
  if (fixed !== undefined) return fixed;
  const number = signal === null ? undefined : os.constants.signals[signal as NodeJS.Signals];
  if (number !== undefined) return 128 + number;
  return exitCode === null || exitCode === 0 ? EXIT.failed : exitCode;
}
