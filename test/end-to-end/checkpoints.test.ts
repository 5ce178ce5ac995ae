import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TaskDetail } from '../../src/ground/protocol/task.ts';
import { startWorker } from '../support/command-worker.ts';
import { GROMACS, skipIfMissing } from '../support/debian.ts';
import { type RunningServer, startServer } from '../support/running-server.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

let server: RunningServer;
beforeAll(async () => {
  server = await startServer(['--heartbeat', '1s', '--lease', '3s']);
});
afterAll(() => server[Symbol.asyncDispose]());

const submit = async (...argv: string[]) => (await server.json<{ id: number }>(['submit', ...argv])).id;
const task = (id: number) => server.json<TaskDetail>(['task', `${id}.1`]);
const taskWhere = (what: string, id: number, holds: (seen: TaskDetail) => boolean, seconds = 60) =>
  waitUntil(
    `task ${id}.1: ${what}`,
    async () => {
      const seen = await task(id);
      return holds(seen) ? seen : false;
    },
    seconds,
  );
const hasCheckpoint = (id: number, atLeast = 1) =>
  taskWhere(`${atLeast} checkpoints`, id, ({ checkpoints }) => checkpoints.length >= atLeast);
const results = async (id: number, ...flags: string[]) => {
  const to = temporaryDirectory();
  const { code, stderr } = await server.run(['results', `${id}.1`, '--to', to, ...flags]);
  expect([code, stderr]).toEqual([0, stderr]);
  return (name: string) => readFileSync(path.join(to, name), 'utf8');
};
const EVERY_SECOND = ['--checkpoint-interval', '1s'];

/** Counts on from what its state says, a step each 50 ms, and writes down where each of its runs began. */
const COUNT = `
  echo "\${PILOTAGE_CHECKPOINT:-none} $(cat state 2>/dev/null || echo 0)" >> began
  n=$(cat state 2>/dev/null || echo 0)
  while [ ! -e "$1" ]; do n=$((n + 1)); echo $n > state.new; mv state.new state; sleep 0.05; done
  echo $n > final`;

test('an attempt whose worker is killed goes on from its last checkpoint, and is told which it is', async () => {
  const stop = path.join(temporaryDirectory(), 'stop');
  const first = await startWorker(server, 'killed');
  const id = await submit(
    ...['--checkpoint', 'state', '--checkpoint', 'began', ...EVERY_SECOND, '-o', 'final', '-o', 'began', '-o', 'state'],
    ...['--', 'sh', '-c', COUNT, 'count', stop],
  );
  const [newest] = (await hasCheckpoint(id, 2)).checkpoints;
  first.child.kill('SIGKILL');
  await first.done;
  await startWorker(server, 'next');
  const second = await taskWhere('a second attempt', id, ({ attempt, state }) => attempt === 2 && state === 'running');
  expect(second.checkpoints.length).toBe(2);
  await taskWhere('a checkpoint of it', id, ({ checkpoints }) => checkpoints[0]?.attempt === 2);
  writeFileSync(stop, '');
  const done = await taskWhere('success', id, ({ state }) => state === 'succeeded');
  expect(done.checkpoints).toEqual([]);
  const read = await results(id);
  const runs = read('began')
    .trim()
    .split('\n')
    .map((line) => line.split(' '));
  expect(runs).toHaveLength(2);
  expect(runs[0]).toEqual(['none', '0']);
  expect(runs[1]?.[0]).toMatch(/^1\.\d+$/);
  expect(Number(runs[1]?.[0]?.split('.')[1])).toBeGreaterThanOrEqual(newest!.number);
  expect(Number(runs[1]?.[1])).toBeGreaterThan(0);
  expect(Number(read('final'))).toBeGreaterThan(Number(runs[1]?.[1]));
});

test('at a planned end what is there is kept, however long the interval', async () => {
  const stop = path.join(temporaryDirectory(), 'stop');
  const first = await startWorker(server, 'planned');
  const id = await submit(
    ...['--checkpoint', 'state', '--checkpoint-interval', '1h', '-o', 'began', '--', 'sh', '-c', COUNT, 'count', stop],
  );
  await taskWhere('it runs', id, ({ state, startedAt }) => state === 'running' && startedAt !== null);
  first.child.kill('SIGTERM');
  await first.done;
  expect(await task(id)).toMatchObject({ state: 'queued', losses: 0, plannedEnds: 1, checkpoints: [{ attempt: 1 }] });
  writeFileSync(stop, '');
  await startWorker(server, 'after');
  await taskWhere('success', id, ({ state }) => state === 'succeeded');
  expect((await results(id))('began')).toMatch(/^1\.1 \d+\n$/);
});

test('a failure keeps a checkpoint; one that is no good costs one interval; outputs of failed attempts are kept', async () => {
  await startWorker(server, 'failing');
  // Leaves a good state, then a bad one; with the bad one it fails at once, with the good one it succeeds.
  const program = `
    echo "$PILOTAGE_ATTEMPT: $(cat state 2>/dev/null)" | tee seen
    case "$(cat state 2>/dev/null)" in
      good) exit 0 ;;
      bad) exit 4 ;;
    esac
    echo good > state
    while [ ! -e "$1" ]; do sleep 0.05; done
    echo bad > state; exit 3`;
  const go = path.join(temporaryDirectory(), 'go');
  const id = await submit(
    ...['--checkpoint', 'state', ...EVERY_SECOND, '--retries', '3', '--backoff', '0s', '-o', 'seen'],
    ...['--', 'sh', '-c', program, 'program', go],
  );
  await hasCheckpoint(id);
  writeFileSync(go, '');
  const done = await taskWhere('an end', id, ({ state }) => state === 'succeeded' || state === 'failed');
  expect(done.state).toBe('succeeded');
  expect(done.attempts.map(({ exitCode }) => exitCode)).toEqual([3, 4, 0]);
  expect((await results(id, '--attempt', '2'))('seen')).toBe('2: bad\n');
  expect((await results(id))('seen')).toBe('3: good\n');
});

test('a file that is written to all the time is never kept half', async () => {
  const worker = await startWorker(server, 'restless');
  const stop = path.join(temporaryDirectory(), 'stop');
  // Always large: a small file could be copied whole between two writes, and would be a good checkpoint.
  const restless = `while [ ! -e "$1" ]; do dd if=/dev/zero of=state bs=1M count=120 conv=notrunc 2>/dev/null; done`;
  const id = await submit(
    ...['--checkpoint', 'state', ...EVERY_SECOND, '--retries', '0', '--', 'sh', '-c', restless, 'restless', stop],
  );
  await waitUntil('the worker says why', () => worker.stderr().includes('is written to all the time'), 60);
  expect((await task(id)).checkpoints).toEqual([]);
  writeFileSync(stop, '');
  await taskWhere('success', id, ({ state }) => state === 'succeeded');
});

test('directories are kept too, and what an input left in their place gives way', async () => {
  await startWorker(server, 'trees');
  const cwd = temporaryDirectory({ 'state/input.txt': 'from the input' });
  const program =
    'ls state > listed; [ -n "$PILOTAGE_CHECKPOINT" ] && exit 0; rm -r state; mkdir state; echo x > state/mine; chmod +x state/mine; ln -s mine state/link; exit 1';
  const { stdout } = await server.run(
    [
      '--json',
      'submit',
      '-i',
      'state',
      '--checkpoint',
      'state',
      '--retries',
      '1',
      '--backoff',
      '0s',
      '-o',
      'listed',
      '-o',
      'state',
      '--',
      'sh',
      '-c',
      program,
    ],
    { cwd },
  );
  const { id } = JSON.parse(stdout) as { id: number };
  await taskWhere('success', id, ({ state }) => state === 'succeeded');
  const to = temporaryDirectory();
  await server.run(['results', `${id}.1`, '--to', to]);
  expect(readFileSync(path.join(to, 'listed'), 'utf8')).toBe('link\nmine\n');
  expect(existsSync(path.join(to, 'state/input.txt'))).toBe(false);
});

test('GROMACS goes on from its own checkpoint when the worker is killed in the middle', async ({ skip }) => {
  skipIfMissing(skip, GROMACS);
  const first = await startWorker(server, 'gromacs-1');
  const file = path.join(import.meta.dirname, '../../examples/water-box/long.yaml');
  const id = await submit(file);
  await taskWhere(
    'GROMACS wrote a checkpoint',
    id,
    ({ checkpoints }) => checkpoints[0]?.files.includes('state.cpt') === true,
    120,
  );
  first.child.kill('SIGKILL');
  await first.done;
  await startWorker(server, 'gromacs-2');
  const done = await taskWhere('an end', id, ({ state }) => state === 'succeeded' || state === 'failed', 240);
  expect([done.state, done.attempt, done.losses]).toEqual(['succeeded', 2, 1]);
  const read = await results(id);
  const continued = /continuing from step (\d+)/.exec(read('gromacs.log'));
  expect(Number(continued?.[1])).toBeGreaterThan(0);
  expect(read('nvt.part0002.log')).toContain('Reading checkpoint file state.cpt');
  const { potential } = JSON.parse(read('energy.json')) as { potential: number };
  expect(Math.abs(potential / -10_000 - 1)).toBeLessThan(0.03);
});
