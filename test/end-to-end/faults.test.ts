import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { routes } from '../../src/ground/protocol/routes.ts';
import type { TaskDetail } from '../../src/ground/protocol/task.ts';
import type { WorkerView } from '../../src/ground/protocol/worker.ts';
import { clientOf } from '../support/api.ts';
import { type Running, type RunningServer, startCommand, startServer } from '../support/running-server.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

/** Short times, so that a lease runs out within a test. */
const SHORT = ['--heartbeat', '1s', '--lease', '3s'];

let server: RunningServer;
let notes: string;
beforeAll(async () => {
  server = await startServer(SHORT);
});
afterAll(() => server[Symbol.asyncDispose]());

function startWorker(
  of: RunningServer,
  name: string,
  flags: readonly string[] = [],
  directory: string = temporaryDirectory(),
): Running {
  const running = startCommand(
    [
      'worker',
      '--server',
      of.url(),
      '--token-file',
      path.join(of.data, 'admin-token'),
      '--slots',
      '2',
      '--cache',
      directory,
      '--name',
      name,
      ...flags,
    ],
    {},
  );
  onTestFinished(async () => {
    running.child.kill('SIGCONT');
    running.child.kill('SIGKILL');
    await running.done;
  });
  return running;
}

const alive = (of: RunningServer) =>
  of.json<WorkerView[]>(['workers']).then((workers) => workers.filter((worker) => worker.state === 'alive'));
const workerIsThere = (of: RunningServer, name: string) =>
  waitUntil(`worker ${name}`, async () => (await alive(of)).find((worker) => worker.name === name));
const submit = async (of: RunningServer, ...argv: string[]) =>
  String((await of.json<{ id: number }>(['submit', ...argv])).id);
const task = (of: RunningServer, id: string) => of.json<TaskDetail>(['task', id]);
const taskIs = (of: RunningServer, id: string, state: string, seconds = 30) =>
  waitUntil(
    `task ${id} to be ${state}`,
    async () => {
      const seen = await task(of, id);
      return seen.state === state ? seen : false;
    },
    seconds,
  );
/** Lines that programs wrote down themselves. */
const witnessed = () =>
  existsSync(notes)
    ? readFileSync(notes, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
    : [];
const isRunning = (pid: string) =>
  existsSync(`/proc/${pid}`) && !/State:\s+Z/.test(readFileSync(`/proc/${pid}/status`, 'utf8'));

test('a poison task that kills what runs it ends failed after three, and every worker is alive and goes on', async () => {
  const names = ['p1', 'p2'];
  const workers = names.map((name) => startWorker(server, name));
  for (const name of names) await workerIsThere(server, name);
  const poison = await submit(server, '--', 'sh', '-c', 'kill -9 $PPID; sleep 60');
  const failed = await taskIs(server, `${poison}.1`, 'failed', 60);
  expect(failed).toMatchObject({ reason: 'worker-lost', losses: 3 });
  expect(failed.attempts).toHaveLength(3);
  for (const worker of workers) expect(worker.child.exitCode).toBeNull();
  expect((await alive(server)).map((worker) => worker.name).sort()).toEqual(names);
  expect((await server.run(['run', '--', 'true'])).code).toBe(0);
});

test('a poison task that kills the whole worker ends failed after three workers, and the local ones are started again', async () => {
  const own = await startServer([...SHORT, '--workers', '2']);
  onTestFinished(() => own[Symbol.asyncDispose]());
  await waitUntil('two workers', async () => (await alive(own)).length === 2);
  // The grandparent of the program is the worker itself.
  const poison = await submit(own, '--', 'sh', '-c', 'kill -9 $(ps -o ppid= -p $PPID); sleep 60');
  const failed = await taskIs(own, `${poison}.1`, 'failed', 120);
  expect(failed).toMatchObject({ reason: 'worker-lost', losses: 3 });
  expect((await own.run(['run', '--', 'true'])).code).toBe(0);
  await waitUntil('two workers again', async () => (await alive(own)).length === 2, 60);
});

test('a hung worker is rescued; what it says late is accepted while nobody claimed the task again', async () => {
  notes = path.join(temporaryDirectory(), 'notes');
  const worker = startWorker(server, 'hung');
  await workerIsThere(server, 'hung');
  const id = await submit(server, '--label', 'x=1', '--', 'true').catch(() => '');
  if (id !== '') await server.run(['cancel', id]);
  const long = await submit(server, '--', 'sh', '-c', `echo begun >> ${notes}; sleep 2; echo ended >> ${notes}`);
  await waitUntil('the program to begin', () => witnessed().includes('begun'));
  worker.child.kill('SIGSTOP');
  await taskIs(server, `${long}.1`, 'queued');
  expect((await task(server, `${long}.1`)).losses).toBe(1);
  await waitUntil('the program to end by itself', () => witnessed().includes('ended'));
  worker.child.kill('SIGCONT');
  const done = await taskIs(server, `${long}.1`, 'succeeded');
  expect(done).toMatchObject({ attempt: 1, losses: 0 });
  expect(witnessed()).toEqual(['begun', 'ended']);
});

test('what a hung worker says late is refused and kept aside when somebody claimed the task again', async () => {
  notes = path.join(temporaryDirectory(), 'notes');
  const hung = startWorker(server, 'hung2');
  await workerIsThere(server, 'hung2');
  const id = await submit(
    server,
    '--',
    'sh',
    '-c',
    `echo "$PILOTAGE_ATTEMPT" >> ${notes}; if [ "$PILOTAGE_ATTEMPT" = 1 ]; then sleep 1; else sleep 6; exit 3; fi`,
  );
  await waitUntil('the first attempt', () => witnessed().includes('1'));
  hung.child.kill('SIGSTOP');
  await taskIs(server, `${id}.1`, 'queued');
  startWorker(server, 'healthy');
  await waitUntil('the second attempt', () => witnessed().includes('2'));
  hung.child.kill('SIGCONT');
  const failed = await taskIs(server, `${id}.1`, 'failed');
  expect(failed).toMatchObject({ attempt: 2, exitCode: 3 });
  const late = await waitUntil('the late report', async () => (await task(server, `${id}.1`)).late[0]);
  expect(late).toMatchObject({ attempt: 1, refusal: 'stale-attempt', outcome: 'succeeded' });
  expect((await server.run(['task', 'accept', `${id}.1`])).code).toBe(0);
  expect(await task(server, `${id}.1`)).toMatchObject({ state: 'succeeded', late: [] });
});

test('the programs of a killed worker are ended, also one that left its group', async () => {
  notes = path.join(temporaryDirectory(), 'notes');
  const worker = startWorker(server, 'killed');
  await workerIsThere(server, 'killed');
  const id = await submit(
    server,
    '--',
    'sh',
    '-c',
    `echo $$ >> ${notes}; setsid sh -c 'echo $$ >> ${notes}; exec sleep 300' & sleep 300`,
  );
  const pids = await waitUntil('both programs', () => (witnessed().length === 2 ? witnessed() : false));
  expect(pids.every(isRunning)).toBe(true);
  worker.child.kill('SIGKILL');
  await waitUntil('their end', () => !pids.some(isRunning));
  await server.run(['cancel', id]);
});

test('a server that is away for many leases is not noticed by what runs: results are spooled and delivered, nothing runs twice', async () => {
  const own = await startServer(SHORT);
  onTestFinished(() => own[Symbol.asyncDispose]());
  notes = path.join(temporaryDirectory(), 'notes');
  const directory = temporaryDirectory();
  startWorker(own, 'patient', [], directory);
  await workerIsThere(own, 'patient');
  const id = await submit(
    own,
    '--array',
    '1-2',
    '--',
    'sh',
    '-c',
    `echo "s $PILOTAGE_TASK_ID/$PILOTAGE_ATTEMPT" >> ${notes}; sleep $((PILOTAGE_ARRAY_INDEX * PILOTAGE_ARRAY_INDEX * 3)); echo "e $PILOTAGE_TASK_ID" >> ${notes}`,
  );
  await waitUntil('both to begin', () => witnessed().length === 2);
  await own.kill('SIGKILL');
  // Three leases and more pass; one program ends meanwhile, the other goes on.
  await waitUntil('the first to end', () => witnessed().includes(`e ${id}.1`));
  await waitUntil('its result to be spooled', () => spooled(directory) > 0);
  await waitUntil('four leases to pass', () => witnessed().includes(`e ${id}.2`), 40);
  await own.restart();
  await taskIs(own, `${id}.1`, 'succeeded');
  await taskIs(own, `${id}.2`, 'succeeded');
  expect(
    witnessed()
      .filter((line) => line.startsWith('s'))
      .sort(),
  ).toEqual([`s ${id}.1/1`, `s ${id}.2/1`]);
  expect(await task(own, `${id}.2`)).toMatchObject({ attempt: 1, losses: 0 });
}, 120_000);

function spooled(directory: string): number {
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' });
  return files.filter((file) => file.includes('spool') && file.endsWith('.json')).length;
}

test('a result that was spooled by a worker that then died is delivered by the next one in its directory', async () => {
  const own = await startServer(SHORT);
  onTestFinished(() => own[Symbol.asyncDispose]());
  const directory = temporaryDirectory();
  const first = startWorker(own, 'first', [], directory);
  await workerIsThere(own, 'first');
  notes = path.join(temporaryDirectory(), 'notes');
  const id = await submit(own, '--', 'sh', '-c', `echo s >> ${notes}; sleep 2`);
  await waitUntil('its begin', () => witnessed().length === 1);
  await own.kill('SIGKILL');
  await waitUntil('the result in the spool', () => spooled(directory) > 0);
  first.child.kill('SIGKILL');
  await first.done;
  await own.restart();
  startWorker(own, 'second', [], directory);
  const done = await taskIs(own, `${id}.1`, 'succeeded');
  expect(done.attempt).toBe(1);
  expect(witnessed()).toEqual(['s']);
});

test('a running task is cancelled within a second, with all that it started', async () => {
  notes = path.join(temporaryDirectory(), 'notes');
  startWorker(server, 'canceller');
  await workerIsThere(server, 'canceller');
  const id = await submit(server, '--', 'sh', '-c', `sleep 300 & echo $! >> ${notes}; echo $$ >> ${notes}; wait`);
  const pids = await waitUntil('both programs', () => (witnessed().length === 2 ? witnessed() : false));
  const begun = performance.now();
  await clientOf(server).call(routes.cancel, { body: { targets: [id] } });
  await waitUntil('their end', () => !pids.some(isRunning));
  expect(performance.now() - begun).toBeLessThan(1000);
  expect(await task(server, `${id}.1`)).toMatchObject({ state: 'cancelled' });
});

test('cancel --all and retry --failed act on everything at once', async () => {
  const own = await startServer(SHORT);
  onTestFinished(() => own[Symbol.asyncDispose]());
  const ids = [await submit(own, '--array', '1-50', '--', 'true'), await submit(own, '--', 'false')];
  expect((await own.run(['cancel', '--all'])).code).toBe(0);
  for (const id of ids) expect(await taskIs(own, `${id}.1`, 'cancelled')).toBeTruthy();
  startWorker(own, 'retrier');
  const failing = await submit(own, '--array', '1-3', '--', 'false');
  await waitUntil(
    'three failures',
    async () => (await clientOf(own).call(routes.submission, { params: { id: Number(failing) } })).counts.failed === 3,
  );
  const { stdout } = await own.run(['retry', '--failed']);
  expect(stdout).toContain('3');
  await waitUntil('three second attempts', async () => (await task(own, `${failing}.3`)).attempt === 2);
});

test('workers stop --all ends workers and gives back what they run, uncharged; drain lets it finish', async () => {
  const own = await startServer(SHORT);
  onTestFinished(() => own[Symbol.asyncDispose]());
  const stopped = startWorker(own, 'stopped');
  await workerIsThere(own, 'stopped');
  const id = await submit(own, '--', 'sleep', '5');
  await taskIs(own, `${id}.1`, 'running');
  expect((await own.run(['workers', 'stop', '--all'])).code).toBe(0);
  expect((await stopped.done).code).toBe(0);
  expect(await taskIs(own, `${id}.1`, 'queued')).toMatchObject({ plannedEnds: 1, losses: 0, failures: 0 });
  const drained = startWorker(own, 'drained');
  await taskIs(own, `${id}.1`, 'running');
  expect((await own.run(['workers', 'drain', 'drained'])).code).toBe(0);
  expect((await drained.done).code).toBe(0);
  expect(await task(own, `${id}.1`)).toMatchObject({ state: 'succeeded', attempt: 2 });
});

test('a worker with --wall-time takes only what fits into it, and --until-idle ends one that has nothing to do', async () => {
  const own = await startServer(SHORT);
  onTestFinished(() => own[Symbol.asyncDispose]());
  const long = await submit(own, '--time-request', '1h', '--', 'true');
  const short = await submit(own, '--time-request', '1s', '--', 'true');
  const worker = startWorker(own, 'short-lived', ['--wall-time', '10m', '--until-idle', '2s']);
  await taskIs(own, `${short}.1`, 'succeeded');
  expect((await worker.done).code).toBe(0);
  expect((await task(own, `${long}.1`)).state).toBe('queued');
});

test('a task may submit tasks with the credential that it finds', async () => {
  const own = await startServer([...SHORT, '--workers', '1']);
  onTestFinished(() => own[Symbol.asyncDispose]());
  const pilotage = path.join(import.meta.dirname, '../../bin/pilotage');
  const id = await submit(
    own,
    '--',
    'sh',
    '-c',
    `${pilotage} submit -- true && cp "$PILOTAGE_TOKEN_FILE" ${temporaryDirectory()}/credential`,
  );
  await taskIs(own, `${id}.1`, 'succeeded');
  await taskIs(own, `${Number(id) + 1}.1`, 'succeeded');
});

test('local workers outlive a server that is killed, and the next server goes on with them instead of starting more', async () => {
  const own = await startServer([...SHORT, '--workers', '2']);
  onTestFinished(() => own[Symbol.asyncDispose]());
  const before = await waitUntil('two workers', async () => {
    const workers = await alive(own);
    return workers.length === 2 ? workers : false;
  });
  notes = path.join(temporaryDirectory(), 'notes');
  const id = await submit(own, '--', 'sh', '-c', `echo s >> ${notes}; sleep 3; echo e >> ${notes}`);
  await waitUntil('its begin', () => witnessed().length === 1);
  await own.kill('SIGKILL');
  await own.restart();
  await taskIs(own, `${id}.1`, 'succeeded');
  expect(witnessed()).toEqual(['s', 'e']);
  expect((await alive(own)).map((worker) => worker.pid).sort()).toEqual(before.map((worker) => worker.pid).sort());
});
