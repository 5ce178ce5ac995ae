import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { lookAtJobs, parseLooks } from '../../../src/worker/agent/look-at-jobs.ts';
import { localTransport } from '../../../src/worker/transport/local-transport.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

function setUp() {
  const transport = localTransport({ environment: process.env });
  onTestFinished(() => transport.close());
  const directory = temporaryDirectory();
  const jobs = ['one', "it's $(touch hacked) `x`", 'new\nline'].map((name) => path.join(directory, name));
  for (const job of jobs) mkdirSync(job);
  const look = (offsets = { stdout: 0, stderr: 0 }) =>
    lookAtJobs(
      transport,
      jobs.map((job) => ({ directory: job, offsets })),
      AbortSignal.timeout(10_000),
    );
  return { jobs, look, directory };
}

test('many jobs are looked at with one command, whatever their names', async () => {
  const { jobs, look } = setUp();
  const [one, two, three] = jobs as [string, string, string];
  mkdirSync(path.join(one, 'started'));
  writeFileSync(path.join(one, 'stdout.txt'), 'out');
  writeFileSync(path.join(one, 'progress.jsonl'), '{"fraction":0.1}\n{"fraction":0.5}\n');
  writeFileSync(path.join(two, 'exit-code'), '7 \n');
  rmSync(three, { recursive: true });
  expect(await look()).toMatchObject([
    { isGone: false, hasStarted: true, stdout: { offset: 0, bytes: Buffer.from('out') }, progress: '{"fraction":0.5}' },
    { isGone: false, hasStarted: false, exit: { code: 7 } },
    { isGone: true },
  ]);
});

test('a thousand jobs with long names are looked at too', async () => {
  const { directory } = setUp();
  const transport = localTransport({ environment: process.env });
  onTestFinished(() => transport.close());
  const jobs = Array.from({ length: 1000 }, (_, at) => path.join(directory, `${'long'.repeat(40)}-${at}`));
  mkdirSync(jobs[999] as string);
  const looks = await lookAtJobs(
    transport,
    jobs.map((job) => ({ directory: job, offsets: { stdout: 0, stderr: 0 } })),
    AbortSignal.timeout(30_000),
  );
  expect(looks.map(({ isGone }) => isGone).filter((isGone) => !isGone)).toHaveLength(1);
  expect(looks[999]?.isGone).toBe(false);
});

test('of output what is new comes, byte for byte, and of very much only its end', async () => {
  const { jobs, look } = setUp();
  const file = path.join(jobs[0] as string, 'stdout.txt');
  const bytes = Buffer.from([0, 255, 10, 13, 128, 65, 10]);
  writeFileSync(file, bytes);
  expect((await look({ stdout: 2, stderr: 0 }))[0]?.stdout).toEqual({ offset: 2, bytes: bytes.subarray(2) });
  expect((await look({ stdout: 7, stderr: 0 }))[0]?.stdout?.bytes.length).toBe(0);
  const large = Buffer.alloc(200_000, 'x');
  writeFileSync(file, large);
  const piece = (await look({ stdout: 7, stderr: 0 }))[0]?.stdout;
  expect([piece?.offset, piece?.bytes.length]).toEqual([200_000 - 65_536, 65_536]);
});

test('an answer that was cut short says nothing', () => {
  const mark = 'm'.repeat(32);
  const whole = `${mark} job\n\n${mark} gone\n\n${mark} end\n`;
  expect(parseLooks(Buffer.from(whole), mark, 1)).toEqual([{ isGone: true, hasStarted: false }]);
  for (const cut of [whole.slice(0, -6), `${mark} job\n\n`, '', whole])
    expect(() => parseLooks(Buffer.from(cut), mark, 2)).toThrow('cut short');
});
