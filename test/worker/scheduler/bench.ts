import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { batchName } from '../../../src/worker/scheduler/batch-name.ts';
import type {
  BatchEnding,
  BatchJob,
  BatchRef,
  BatchStatus,
  Scheduler,
} from '../../../src/worker/scheduler/scheduler.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { waitUntil } from '../../support/wait-until.ts';
import type { UserShell } from './user-shell.ts';

/** One batch system that really runs, and a user on its machine. */
export interface Bench {
  readonly scheduler: Scheduler;
  readonly shell: UserShell;
  readonly user: string;
}

/** A directory of the user, below one of the test. */
export function userDirectory(user: string, name = 'job'): string {
  const parent = temporaryDirectory();
  chmodSync(parent, 0o755);
  const directory = join(parent, name);
  mkdirSync(directory, { recursive: true });
  execFileSync('chown', ['-R', user, parent]);
  return directory;
}

export function newJob(bench: Bench, body: string, over: Partial<BatchJob> = {}): BatchJob {
  const directory = over.directory ?? userDirectory(bench.user);
  const name = batchName(`test-${randomBytes(6).toString('hex')}`);
  return {
    name,
    directory,
    body,
    stdout: join(directory, 'stdout'),
    stderr: join(directory, 'stderr'),
    options: [],
    ...over,
  };
}

/** Writes the script, as the agent would. */
export function bring(bench: Bench, job: BatchJob): string {
  const path = join(job.directory, `${job.name}.sh`);
  writeFileSync(path, bench.scheduler.script(job), { mode: 0o755 });
  return path;
}

export async function start(bench: Bench, body: string, over: Partial<BatchJob> = {}): Promise<BatchRef> {
  const job = newJob(bench, body, over);
  const result = await bench.scheduler.submit(bench.shell, job, bring(bench, job));
  if (!result.ok) throw new Error(result.reason);
  const ref = { id: result.id, name: job.name, directory: job.directory, stderr: job.stderr };
  // Before its directory goes. A scheduler that a test has taken away gets no such call.
  onTestFinished(() =>
    bench.scheduler.cancel(bench.shell, [ref]).then(
      () => undefined,
      () => undefined,
    ),
  );
  return ref;
}

export async function statusOf(bench: Bench, ref: BatchRef): Promise<BatchStatus> {
  return (await bench.scheduler.poll(bench.shell, [ref])).get(ref.id)!;
}

export async function untilState<State extends BatchStatus['state']>(
  bench: Bench,
  ref: BatchRef,
  state: State,
  seconds = 60,
): Promise<Extract<BatchStatus, { state: State }>> {
  let last: BatchStatus | undefined;
  const look = async (): Promise<BatchStatus | undefined> => {
    last = await statusOf(bench, ref);
    return last.state === state ? last : undefined;
  };
  const seen = await waitUntil(`${ref.name} to be ${state}`, look, seconds).catch((error: Error) => {
    throw new Error(`${error.message}; it is ${JSON.stringify(last)}`);
  });
  return seen as Extract<BatchStatus, { state: State }>;
}

/** How it ended, when the accounting has it. */
export async function endOf(bench: Bench, ref: BatchRef, seconds = 60): Promise<BatchEnding> {
  await untilState(bench, ref, 'ended', seconds);
  return waitUntil('the accounting to know it', () => bench.scheduler.outcome(bench.shell, ref), 30);
}
