import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { countSleeps, pidsOf } from '../../support/processes.ts';
import { startTinyPool, type TinyPool } from '../../support/tiny-pool.ts';
import { waitUntil } from '../../support/wait-until.ts';

const PROCESS = fileURLToPath(new URL('../../support/worker-process.ts', import.meta.url));

let pool: TinyPool;
let directory: string;
let workers: ChildProcess[];

beforeEach(async () => {
  pool = await startTinyPool();
  directory = mkdtempSync(path.join(tmpdir(), 'pilotage-fault-'));
  workers = [];
});
afterEach(async () => {
  await Promise.all(workers.map(end));
  await pool.close();
  rmSync(directory, { recursive: true, force: true });
});

const launch = (options: object = {}): ChildProcess => {
  const child = spawn(
    process.execPath,
    ['--no-warnings', PROCESS, JSON.stringify({ url: pool.url, workDirectory: directory, ...options })],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  workers.push(child);
  return child;
};
const end = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
};
const spawnersOf = (worker: ChildProcess): number[] =>
  pidsOf((command) => command.includes('spawner.')).filter((pid) => parentOf(pid) === worker.pid);

test('when a worker is killed its spawner ends its programs, also those that ignore TERM or left the session', async () => {
  pool.submit({ command: ['sh', '-c', 'setsid sleep 311 & trap "" TERM; sleep 311'] });
  const worker = launch();
  await waitUntil('both programs', () => countSleeps('311') === 2);
  worker.kill('SIGKILL');
  await waitUntil('their end', () => countSleeps('311') === 0);
});

test('when worker and spawners are killed together, the next worker of the directory ends what they left', async () => {
  pool.submit({ command: ['sh', '-c', 'setsid sleep 312 & sleep 312'] });
  const worker = launch();
  await waitUntil('both programs', () => countSleeps('312') === 2);
  const spawners = spawnersOf(worker);
  expect(spawners.length).toBe(2);
  worker.kill('SIGSTOP');
  for (const pid of spawners) process.kill(pid, 'SIGKILL');
  worker.kill('SIGKILL');
  await waitUntil('the kill', () => worker.signalCode !== null);
  expect(countSleeps('312')).toBe(2);
  launch();
  await waitUntil('their end', () => countSleeps('312') === 0);
});

test('a worker of another directory leaves them alone', async () => {
  pool.submit({ command: ['sleep', '313'] });
  launch();
  await waitUntil('the program', () => countSleeps('313') === 1);
  const other = launch({ workDirectory: `${directory}/other` });
  await waitUntil('the other worker', () => pool.registrations.length === 2);
  expect(countSleeps('313')).toBe(1);
  await end(other);
});

test('when only a spawner is killed its attempts are ended and charged as lost, and the worker lives on', async () => {
  const [cut] = pool.submit({ command: ['sleep', '314'] });
  const worker = launch();
  await waitUntil('the program', () => countSleeps('314') === 1);
  for (const pid of spawnersOf(worker)) process.kill(pid, 'SIGKILL');
  const report = await waitUntil('the report', () => pool.reports.find((one) => one.task === cut));
  expect(report).toMatchObject({ outcome: 'lost' });
  expect(countSleeps('314')).toBe(0);
  const [next] = pool.submit({ command: ['true'] });
  await waitUntil('another task', () => pool.reports.find((one) => one.task === next && one.outcome === 'succeeded'));
});

test('a result that was spooled survives the kill of its worker, and the next one delivers it', async () => {
  pool.fail = (_path, body) =>
    (body as { reports?: unknown[] }).reports?.length ? { status: 503, code: 'storage-full' } : undefined;
  const [task] = pool.submit({ command: ['sh', '-c', 'echo precious'] });
  const worker = launch();
  const spool = path.join(directory, '1', 'spool');
  await waitUntil('the spool', () => spooled(spool) > 0);
  await end(worker);
  expect(pool.reports).toEqual([]);
  pool.fail = () => undefined;
  launch();
  const report = await waitUntil('the report', () => pool.reports.find((one) => one.task === task));
  expect(Buffer.from(report.stdout?.data ?? '', 'base64').toString()).toBe('precious\n');
  expect(pool.registrations[1]?.replaces).toMatchObject({ session: 's1', held: [{ task, attempt: 1 }] });
  await waitUntil('the spool to be empty', () => spooled(spool) === 0);
});

test('several workers of one directory each take a number, and a dead one leaves its own to the next', async () => {
  const first = launch();
  await waitUntil('the first', () => pool.registrations.length === 1);
  launch();
  await waitUntil('the second', () => pool.registrations.length === 2);
  expect([existsSync(path.join(directory, '1/lock')), existsSync(path.join(directory, '2/lock'))]).toEqual([
    true,
    true,
  ]);
  await end(first);
  launch();
  await waitUntil('the third', () => pool.registrations.length === 3);
  expect(existsSync(path.join(directory, '3'))).toBe(false);
  expect(pool.registrations[2]?.replaces?.session).toBe('s1');
});

test('TERM ends a worker as planned: its programs are handed back and it exits with 0', async () => {
  const [task] = pool.submit({ command: ['sleep', '315'] });
  const worker = launch();
  await waitUntil('the program', () => countSleeps('315') === 1);
  worker.kill('SIGTERM');
  await waitUntil('its exit', () => worker.exitCode !== null);
  expect(worker.exitCode).toBe(0);
  expect(pool.reports.find((one) => one.task === task)).toMatchObject({ outcome: 'ended' });
  expect(pool.left).toEqual(['s1']);
  expect(countSleeps('315')).toBe(0);
});

test('USR1 lets a worker finish what it runs and then leave', async () => {
  const [task] = pool.submit({ command: ['sleep', '0.7'] });
  const worker = launch();
  await waitUntil('the start', () => pool.running.has(task as string));
  worker.kill('SIGUSR1');
  await waitUntil('an exchange that asks for nothing', () => pool.exchanges.at(-1)?.maxClaims === 0);
  const [late] = pool.submit({ command: ['true'] });
  await waitUntil('its exit', () => worker.exitCode !== null);
  expect(pool.reports.map((one) => [one.task, one.outcome])).toContainEqual([task, 'succeeded']);
  expect(pool.reports.some((one) => one.task === late && one.outcome === 'succeeded')).toBe(false);
});

test('programs go on while the server is away, and their results arrive when it is back', async () => {
  const [task] = pool.submit({ command: ['sh', '-c', 'sleep 0.5; echo worked'] });
  launch();
  await waitUntil('the start', () => pool.running.has(task as string));
  pool.fail = () => 'cut';
  await waitUntil('the spool', () => spooled(path.join(directory, '1', 'spool')) > 0);
  pool.fail = () => undefined;
  await waitUntil('the report', () => pool.reports.find((one) => one.task === task && one.outcome === 'succeeded'));
});

function spooled(root: string): number {
  if (!existsSync(root)) return 0;
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' });
  return files.filter((file) => file.endsWith('.json') && !file.includes('damaged')).length;
}

function parentOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]);
}
