import { existsSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TaskSpec } from '../../../src/ground/protocol/spec.ts';
import { startTimeOf } from '../../../src/worker/runner/marked-processes.ts';
import { countSleeps } from '../../support/processes.ts';
import { waitUntil } from '../../support/wait-until.ts';
import { type Bench, startBench, textOf } from '../../support/worker-harness.ts';

let bench: Bench;
beforeAll(async () => {
  bench = await startBench();
  await bench.start({ slots: 4, gpus: 2 });
});
afterAll(() => bench.close());

const run = async (spec: TaskSpec, payload?: unknown) => {
  const [task] = bench.pool.submit(spec, 1, () => payload);
  return bench.reportOf(task);
};
const sh = (script: string, spec: TaskSpec = {}, payload?: unknown) =>
  run({ command: ['sh', '-c', script], ...spec }, payload);

describe('how a program ends', () => {
  test('exit code 0 is success, with output, times and use of CPU and memory', async () => {
    const report = await sh('echo out; echo err >&2; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done');
    expect(report).toMatchObject({ outcome: 'succeeded', exitCode: 0 });
    expect(textOf(report.stdout)).toBe('out\n');
    expect(textOf(report.stderr)).toBe('err\n');
    expect(report.cpuSeconds).toBeGreaterThan(0.05);
    expect(report.wallSeconds).toBeGreaterThanOrEqual((report.cpuSeconds ?? 0) * 0.5);
    expect(report.peakMemory).toBeGreaterThan(500_000);
    expect(Date.parse(report.startedAt ?? '')).toBeGreaterThan(Date.now() - 60_000);
  });

  test.each([
    ['another exit code fails the task', 'exit 7', { outcome: 'failed', reason: 'exit-code', exitCode: 7 }],
    [
      'a signal fails the task and is named',
      'kill -SEGV $$',
      { outcome: 'failed', reason: 'signal', signal: 'SIGSEGV' },
    ],
    [
      'a KILL that was not ours is explained',
      'kill -KILL $$',
      { reason: 'signal', signal: 'SIGKILL', message: expect.stringContaining('not by Pilotage') },
    ],
  ])('%s', async (_name, script, expected) => {
    expect(await sh(script)).toMatchObject(expected);
  });

  test('a command that is nowhere in PATH is named, with the PATH', async () => {
    const report = await run({ command: ['no-such-program-x'], env: { PATH: '/nowhere:/usr/bin' } });
    expect(report).toMatchObject({ outcome: 'failed', reason: 'command-not-found' });
    expect(report.message).toContain('no-such-program-x');
    expect(report.message).toContain('/nowhere:/usr/bin');
  });

  test('a command that is not in the sandbox says to give it along', async () => {
    const report = await run({ command: ['./mine.sh'] });
    expect(report).toMatchObject({ reason: 'command-not-found', message: expect.stringContaining('--input') });
  });

  test('a file that is not executable says to make it so', async () => {
    const digest = bench.pool.put('#!/bin/sh\necho hi\n');
    const report = await run({ command: ['./mine.sh'], inputs: [{ name: 'mine.sh', digest, kind: 'file' }] });
    expect(report).toMatchObject({ reason: 'command-not-executable', message: expect.stringContaining('chmod +x') });
  });

  test('a script whose interpreter is missing names the interpreter', async () => {
    const digest = bench.pool.put('#!/opt/no/such/python\nprint(1)\n');
    const report = await run({
      command: ['./mine.py'],
      inputs: [{ name: 'mine.py', digest, kind: 'file', executable: true }],
    });
    expect(report).toMatchObject({
      reason: 'command-not-found',
      message: expect.stringContaining('/opt/no/such/python'),
    });
  });

  test('arguments that are too long for the system fail the task, not the worker', async () => {
    const report = await run({ command: ['/bin/true', ...Array.from({ length: 40 }, () => 'x'.repeat(131_000))] });
    expect(report).toMatchObject({ outcome: 'failed', reason: 'start-failed' });
  });

  test('a payload without the value of a placeholder fails the task', async () => {
    const report = await run({ command: ['echo', '{temperature}'] }, { seed: 1 });
    expect(report).toMatchObject({ reason: 'start-failed', message: expect.stringContaining('{temperature}') });
  });
});

describe('limits', () => {
  test('the time limit counts from the start and ends the whole group', async () => {
    const report = await sh('sleep 60 & sleep 60', { timeLimitSeconds: 0.3 });
    expect(report).toMatchObject({
      outcome: 'failed',
      reason: 'time-limit',
      message: expect.stringContaining('300ms'),
    });
    expect(report.wallSeconds).toBeLessThan(3);
  });

  test('a program that ignores TERM is killed', async () => {
    const report = await sh('trap "" TERM; while :; do sleep 0.05; done', { timeLimitSeconds: 0.2 });
    expect(report).toMatchObject({ reason: 'time-limit', signal: 'SIGKILL' });
    expect(report.wallSeconds).toBeGreaterThan(1);
  });

  test('the memory limit counts children too, and says how much was used', async () => {
    const hog = `${process.execPath} -e 'const a=[];for(let i=0;i<60;i++)a.push(Buffer.alloc(4e6,1));setTimeout(()=>{},60000)'`;
    const report = await sh(`${hog} & ${hog} & wait`, { memoryLimit: 350_000_000 });
    expect(report).toMatchObject({
      outcome: 'failed',
      reason: 'memory-limit',
      message: expect.stringContaining('333.8 MiB'),
    });
    expect(report.peakMemory).toBeGreaterThan(350_000_000);
  });
});

describe('what a program leaves running', () => {
  test('its group ends with it', async () => {
    const report = await sh('sleep 300 & echo $!');
    const pid = Number(textOf(report.stdout));
    expect(report.outcome).toBe('succeeded');
    expect(startTimeOf(pid)).toBeUndefined();
  });

  test('a process that left the session is found and ended', async () => {
    const report = await sh('setsid sleep 301 >/dev/null 2>&1 & sleep 0.1; echo done');
    expect(report.outcome).toBe('succeeded');
    await waitUntil('the end of the stray', () => countSleeps('301') === 0);
  });

  test('a time limit reaches a process that left the session', async () => {
    await sh('setsid sleep 302 & sleep 302', { timeLimitSeconds: 0.5 });
    await waitUntil('the end of the stray', () => countSleeps('302') === 0);
  });
});

describe('environment', () => {
  test('a program sees the fixed names, its own variables, and nothing of the worker', async () => {
    process.env.SECRET_OF_WORKER = 'x';
    const report = await sh(
      'env',
      { env: { GREETING: 'hello {name}' }, resources: { cpus: 2, memory: 1_000_000_000 } },
      { name: 'Ada' },
    );
    const env = Object.fromEntries(
      textOf(report.stdout)
        .trim()
        .split('\n')
        .map((line) => line.split(/=(.*)/s).slice(0, 2)),
    );
    expect(env).toMatchObject({
      PILOTAGE_TASK_ID: report.task,
      PILOTAGE_SUBMISSION_ID: report.task.split('.')[0],
      PILOTAGE_ARRAY_INDEX: '1',
      PILOTAGE_ATTEMPT: '1',
      PILOTAGE_PROJECT: 'default',
      PILOTAGE_CPUS: '2',
      PILOTAGE_MEMORY_BYTES: '1000000000',
      PILOTAGE_GPUS: '',
      PILOTAGE_PAYLOAD: '{"name":"Ada"}',
      PILOTAGE_SERVER: bench.pool.url,
      GREETING: 'hello Ada',
    });
    expect(env).not.toHaveProperty('SECRET_OF_WORKER');
  });

  test('the token file holds the credential of the attempt and only its user can read it', async () => {
    const report = await sh('cat $PILOTAGE_TOKEN_FILE; stat -c %a $PILOTAGE_TOKEN_FILE');
    expect(textOf(report.stdout)).toBe(`task:${report.task}:1:${report.secret}600\n`);
  });

  test('GPUs are handed out by number', async () => {
    const reports = await Promise.all(
      [0, 1].map(() => sh('echo $PILOTAGE_GPUS $CUDA_VISIBLE_DEVICES; sleep 0.3', { resources: { gpus: 1 } })),
    );
    expect(reports.map((report) => textOf(report.stdout)).sort()).toEqual(['0 0\n', '1 1\n']);
  });

  test('TMPDIR is a directory of its own', async () => {
    expect((await sh('cd "$TMPDIR" && touch x && ls')).outcome).toBe('succeeded');
  });
});

describe('output', () => {
  test('bytes that are no text survive', async () => {
    const report = await sh("printf '\\377\\000\\376'");
    expect([...Buffer.from(report.stdout?.data ?? '', 'base64')]).toEqual([255, 0, 254]);
  });

  test('output over 64 KiB becomes a blob', async () => {
    const report = await sh('head -c 5000000 /dev/zero');
    expect(report.stdout).toEqual({ size: 5_000_000, digest: expect.any(String) });
    expect(bench.pool.blobs.get(report.stdout?.digest ?? '')?.length).toBe(5_000_000);
  });

  test('while somebody follows, output arrives as it grows', async () => {
    bench.pool.followSeconds = 30;
    const [task] = bench.pool.submit({ command: ['sh', '-c', 'echo one; sleep 0.6; echo two; sleep 30'] });
    const seen = await waitUntil('both lines', () => {
      const chunks = bench.pool.exchanges
        .flatMap((exchange) => exchange.logs ?? [])
        .filter((chunk) => chunk.task === task);
      const text = chunks.map((chunk) => Buffer.from(chunk.data, 'base64').toString()).join('');
      return text.includes('two') && { text, offsets: chunks.map((chunk) => chunk.offset) };
    });
    expect(seen.text).toBe('one\ntwo\n');
    expect(seen.offsets).toEqual([0, 4]);
    bench.pool.followSeconds = 0;
    bench.pool.drop(task as string);
  });

  test('progress that a program writes travels with the heartbeats', async () => {
    bench.pool.followSeconds = 30;
    const [task] = bench.pool.submit({
      command: [
        'sh',
        '-c',
        'echo \'{"fraction":0.5,"message":"half"}\' >> $PILOTAGE_PROGRESS_FILE; echo x; sleep 0.5; echo y; sleep 30',
      ],
    });
    const progress = await waitUntil('progress', () =>
      bench.pool.exchanges
        .flatMap((exchange) => exchange.held ?? [])
        .find((held) => held.task === task && held.progress),
    );
    expect(progress.progress).toEqual({ fraction: 0.5, message: 'half' });
    bench.pool.followSeconds = 0;
    bench.pool.drop(task as string);
  });
});

test('a task that is no longer ours is ended within a second, and nothing is reported', async () => {
  const [task] = bench.pool.submit({ command: ['sleep', '303'] });
  await waitUntil('its start', () => countSleeps('303') === 1);
  const before = performance.now();
  bench.pool.drop(task as string);
  await waitUntil('its end', () => countSleeps('303') === 0);
  expect(performance.now() - before).toBeLessThan(1000);
  expect(bench.pool.reports.some((report) => report.task === task)).toBe(false);
});

test('sandboxes go when their reports are acknowledged', async () => {
  const report = await sh('pwd; mkdir -p a/b; touch a/b/c');
  const sandbox = textOf(report.stdout).trim();
  expect(path.basename(sandbox)).toBe('sandbox');
  await waitUntil('the sandbox to go', () => !existsSync(path.dirname(sandbox)));
});
