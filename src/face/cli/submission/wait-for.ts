import type { Client } from '../../../ground/client/client.ts';
import type { SubmissionView } from '../../../ground/protocol/submission.ts';
import { calls } from '../calls.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { repeat } from '../repeat.ts';
import { plural } from '../table.ts';
import { startProgress } from './progress.ts';

/** A server that is away for so long is not waited for any more. The work goes on all the same. */
const PATIENCE_SECONDS = 3600;
/** Failures that are named one by one. */
const NAMED = 5;

export interface Ended {
  readonly submissions: readonly SubmissionView[];
  readonly code: number;
}

/**
 * Waits until all tasks have ended, through restarts of the server. Ctrl-C leaves: the work goes on, which is said.
 * The code is 1 if any task did not succeed.
 */
export async function waitFor(started: readonly SubmissionView[], invocation: Invocation): Promise<Ended> {
  const leaving = new AbortController();
  const stopListening = invocation.context.onInterrupt(() => leaving.abort());
  try {
    const submissions = await watch(started, invocation, leaving.signal);
    return { submissions, code: await judge(submissions, invocation) };
  } catch (error) {
    if (!leaving.signal.aborted) throw error;
    const ids = started.map(({ id }) => id);
    await invocation.say(
      `the work goes on. Look at it with 'pilotage status ${ids.join(' ')}', end it with 'pilotage cancel ${ids.join(' ')}'`,
    );
    return { submissions: started, code: EXIT.interrupted };
  } finally {
    stopListening();
  }
}

async function watch(
  started: readonly SubmissionView[],
  invocation: Invocation,
  signal: AbortSignal,
): Promise<SubmissionView[]> {
  const views = new Map(started.map((view) => [view.id, view]));
  const total = started.reduce((sum, view) => sum + view.tasks, 0);
  const progress = await startProgress(invocation, 'tasks', total);
  const isWatched = invocation.context.stderr.isTTY === true;
  const patience = {
    seconds: PATIENCE_SECONDS,
    signal,
    onOutage: () => void invocation.say('the server does not answer; the work goes on, and so does this: trying again'),
    onReturn: () => void invocation.say('the server answers again'),
  };
  try {
    for (;;) {
      const open = [...views.values()].filter((view) => !view.finished);
      progress.update(endedIn([...views.values()]), noteOf([...views.values()]));
      if (open.length === 0) return started.map((view) => views.get(view.id) ?? view);
      for (const [at, { id }] of open.entries()) {
        // Only the first is waited for; the others are asked how far they are.
        const waitSeconds = at === 0 ? (isWatched ? 0.5 : 5) : 0;
        const view = await repeat(() => ask(invocation.client(), id, { waitSeconds, signal }), patience);
        views.set(id, view);
      }
    }
  } finally {
    progress.stop();
  }
}

function ask(
  client: Client,
  id: number,
  { waitSeconds, signal }: { waitSeconds: number; signal: AbortSignal },
): Promise<SubmissionView> {
  return client.call(calls.submission, { params: { id }, query: { waitSeconds, finishedOnly: true }, signal });
}

function endedIn(views: readonly SubmissionView[]): number {
  return views.reduce((sum, { counts }) => sum + counts.succeeded + counts.failed + counts.cancelled, 0);
}

function noteOf(views: readonly SubmissionView[]): string {
  const failed = views.reduce((sum, { counts }) => sum + counts.failed, 0);
  const running = views.reduce((sum, { counts }) => sum + counts.running, 0);
  return [running > 0 ? `${running} running` : '', failed > 0 ? `${failed} failed` : '']
    .filter((part) => part !== '')
    .join(', ');
}

async function judge(views: readonly SubmissionView[], invocation: Invocation): Promise<number> {
  const failed = views.reduce((sum, { counts }) => sum + counts.failed, 0);
  const cancelled = views.reduce((sum, { counts }) => sum + counts.cancelled, 0);
  if (failed === 0 && cancelled === 0) {
    const tasks = views.reduce((sum, view) => sum + view.tasks, 0);
    await invocation.say(tasks === 1 ? 'the task succeeded' : `all ${plural(tasks, 'task')} succeeded`);
    return EXIT.done;
  }
  if (cancelled > 0) await invocation.say(`${plural(cancelled, 'task was', 'tasks were')} cancelled`);
  if (failed > 0) await tellFailures(views, failed, invocation);
  return EXIT.failed;
}

async function tellFailures(views: readonly SubmissionView[], failed: number, invocation: Invocation): Promise<void> {
  await invocation.say(`${plural(failed, 'task')} failed:`);
  let room = NAMED;
  for (const { id } of views.filter(({ counts }) => counts.failed > 0)) {
    if (room <= 0) break;
    const { tasks } = await invocation
      .client()
      .call(calls.tasks, { query: { submission: id, state: 'failed', limit: room } });
    for (const task of tasks) {
      const code = task.exitCode === null || task.exitCode === 0 ? '' : ` (exit code ${task.exitCode})`;
      await invocation.say(
        `  ${task.id} ${task.reason ?? 'failed'}${code}: see 'pilotage why ${task.id}' and 'pilotage logs ${task.id}'`,
      );
    }
    room -= tasks.length;
  }
  if (failed > NAMED) await invocation.say(`  and ${failed - NAMED} more: see 'pilotage tasks --state failed'`);
}
