import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { HookCall } from '../../../src/worker/service/hook-messages.ts';
import { createHookProcess } from '../../../src/worker/service/hook-process.ts';
import { countSleeps } from '../../support/processes.ts';
import { serviceHome } from '../../support/service-home.ts';
import { smallDisk } from '../../support/small-disk.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { waitUntil } from '../../support/wait-until.ts';

const SLEEP = '61234567';
const MODULE = `
import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { defineService, nothing, Type } from 'pilotage/service';
const faults: Record<string, (job: any) => any> = {
  throw() { throw new Error('a fault'); },
  throwText() { throw 'text'; },
  reject: async () => { await Promise.resolve(); throw new Error('later'); },
  later() { setTimeout(() => { throw new Error('nobody catches this'); }, 0); return new Promise(() => {}); },
  spin() { for (;;); },
  wait: () => new Promise(() => {}),
  sleep() { execFileSync('sleep', ['${SLEEP}']); },
  exit() { process.exit(0); },
  kill() { process.kill(process.pid, 'SIGKILL'); },
  heap() { const all: number[][] = []; for (;;) all.push(Array.from({ length: 100_000 }, (_, i) => i)); },
  bytes: async () => { const all: Buffer[] = []; for (;;) { all.push(Buffer.alloc(16_000_000, 1)); await new Promise((r) => setTimeout(r, 20)); } },
  disk(job) { writeFileSync('large', Buffer.alloc(4_000_000)); },
  cyclic(job) { job.metadata.self = job.metadata; },
  skip(job) { job.skipRun(); },
  reschedule(job) { job.rescheduleRun(1); },
  log(job) { job.logger.debug('not seen'); job.logger.warning('seen'); },
  fine(job) { job.metadata.n = 1; return process.cwd(); },
};
export default defineService({
  name: 'faults', parameters: Type.Object({ fault: Type.String() }),
  run: () => nothing(),
  preprocess: (job) => { job.metadata.before = true; return faults[job.parameters.fault]?.(job); },
});
`;

function hooks(seconds = 5, memory = 2 ** 28) {
  const home = serviceHome(MODULE);
  const made = createHookProcess({
    module: path.join(home, 'service.ts'),
    home,
    limits: { seconds, memory },
    environment: process.env,
  });
  onTestFinished(() => made.stop());
  const call = (fault: string, directory = temporaryDirectory(), over: Partial<HookCall> = {}, signal?: AbortSignal) =>
    made.call(
      {
        hook: 'preprocess',
        job: {
          number: '1',
          uid: 'u',
          name: null,
          owner: 'o',
          contact: null,
          parameters: { fault },
          metadata: {},
          run: 0,
          url: 'http://server/jobs/default/1/secret',
          directory,
        },
        service: { name: 'faults', config: {} },
        ...over,
      },
      { signal: signal ?? new AbortController().signal, onProgress: () => {} },
    );
  return { ...made, call };
}

test('a hook runs in the directory of its job, and what it writes into the metadata comes back', async () => {
  const { call } = hooks();
  const directory = temporaryDirectory();
  expect(await call('fine', directory)).toMatchObject({
    kind: 'done',
    value: directory,
    metadata: { before: true, n: 1 },
  });
});

test.each([
  ['throw', 'a fault'],
  ['throwText', 'the hook threw "text", which is no Error'],
  ['reject', 'later'],
  ['later', "the hook 'preprocess' ended its process (exit code 1)"],
  ['exit', "the hook 'preprocess' ended its process (exit code 0)"],
  ['kill', "the process of the hook 'preprocess' was ended by SIGKILL"],
  ['cyclic', 'is no JSON'],
  ['reschedule', "rescheduleRun can be called in 'postprocess' only, not in 'preprocess'"],
])('%s is a failure of the hook, and the next one runs', async (fault, message) => {
  const { call } = hooks();
  expect(await call(fault)).toMatchObject({ kind: 'failed', message: expect.stringContaining(message) });
  expect(await call('fine')).toMatchObject({ kind: 'done' });
});

test('a failure tells where it was, and keeps the metadata', async () => {
  const { call } = hooks();
  expect(await call('throw')).toMatchObject({
    stack: expect.stringContaining('service.ts'),
    metadata: { before: true },
  });
});

test.each(['spin', 'wait', 'sleep'])('a hook that hangs (%s) is ended with all that it started', async (fault) => {
  const { call } = hooks(1);
  expect(await call(fault)).toMatchObject({ message: expect.stringContaining('hung: it did not return within 1s') });
  await waitUntil('nothing of it runs', () => countSleeps(SLEEP) === 0);
  expect(await call('fine')).toMatchObject({ kind: 'done' });
});

test.each(['heap', 'bytes'])('a hook that eats memory (%s) is ended', async (fault) => {
  const { call } = hooks(30, 2 ** 27);
  expect(await call(fault)).toMatchObject({ kind: 'failed' });
  expect(await call('fine')).toMatchObject({ kind: 'done' });
});

test('a disk that a hook has filled is its failure', async ({ skip }) => {
  const { call } = hooks();
  expect(await call('disk', smallDisk('1m', skip))).toMatchObject({ message: expect.stringContaining('ENOSPC') });
});

test('a signal ends the hook', async () => {
  const { call } = hooks(60);
  const cancel = new AbortController();
  const called = call('spin', undefined, {}, cancel.signal);
  setTimeout(() => cancel.abort(), 300);
  expect(await called).toMatchObject({ kind: 'failed' });
});

test('what is logged is in framework.log from the level on, which is made with the first line', async () => {
  const { call } = hooks();
  const directory = temporaryDirectory();
  await call('fine', directory);
  expect(existsSync(path.join(directory, 'framework.log'))).toBe(false);
  await call('log', directory);
  expect(readFileSync(path.join(directory, 'framework.log'), 'utf8')).toMatch(/^\S+Z WARNING seen\n$/);
});

test.each([
  ['export default 1', 'the module exports no service'],
  ['export default { name: "Bad Name" }', 'the service\'s name is "Bad Name"'],
  ['export default { name: "x" }', "the service has no 'parameters'"],
  ['export default { name: "x", parameters: { type: "object" } }', "the service has no hook 'run'"],
  [
    'export default { name: "x", parameters: { type: "object" }, run() {}, archive: 3 }',
    "'archive' of the service is no function",
  ],
  ['this is no program', 'xpected'],
  ['throw new Error("at once")', 'at once'],
  ['process.exit(4)', 'ended its process (exit code 4)'],
])('a module that is none is not hosted: %s', async (text, message) => {
  const home = serviceHome(text);
  const made = createHookProcess({
    module: path.join(home, 'service.ts'),
    home,
    limits: { seconds: 5, memory: 2 ** 28 },
    environment: process.env,
  });
  await expect(made.load()).rejects.toThrow(message);
});
