import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Claimant, type ClaimantOptions, startClaimant } from '../../../src/ground/claimant/exchange-loop.ts';
import { openSpool } from '../../../src/ground/claimant/spool.ts';
import { createClient } from '../../../src/ground/client/client.ts';
import { httpTransport } from '../../../src/ground/client/http-transport.ts';
import { manualExecutor } from '../../support/manual-executor.ts';
import { memoryLog } from '../../support/memory-log.ts';
import { startTinyPool, type TinyPool } from '../../support/tiny-pool.ts';
import { waitUntil } from '../../support/wait-until.ts';

const SPEC = { command: ['true'] };
let pool: TinyPool;
let directory: string;
let claimants: Claimant[];
const log = memoryLog();

beforeEach(async () => {
  pool = await startTinyPool();
  directory = mkdtempSync(path.join(tmpdir(), 'pilotage-claimant-'));
  claimants = [];
  log.lines.length = 0;
});
afterEach(async () => {
  pool.fail = () => undefined;
  for (const claimant of claimants) claimant.stop();
  await Promise.all(claimants.map((claimant) => claimant.done));
  await pool.close();
  rmSync(directory, { recursive: true, force: true });
});

const claim = async (
  executor: ReturnType<typeof manualExecutor>,
  options: Partial<ClaimantOptions> = {},
): Promise<Claimant> => {
  const claimant = startClaimant({
    client: createClient(httpTransport({ url: pool.url }), () => 'token'),
    executor,
    spool: await openSpool(path.join(directory, 'spool'), log),
    log,
    describe: () => ({
      protocol: 1,
      version: 'test',
      name: 'test',
      host: 'here',
      pid: 1,
      zone: null,
      total: executor.room().offer,
      labels: {},
      kinds: ['command'],
      remainingSeconds: null,
    }),
    lastWordsSeconds: 0.3,
    ...options,
  });
  claimants.push(claimant);
  return claimant;
};
const reported = (task: string | undefined) =>
  waitUntil(`the report of ${task}`, () => pool.reports.find((one) => one.task === task));
const spoolFiles = (): string[] => readdirSync(path.join(directory, 'spool')).filter((name) => name.endsWith('.json'));

test('a claim is carried out once, reported once, and then settled', async () => {
  const executor = manualExecutor({ cpus: 2 });
  const [task] = pool.submit(SPEC);
  await claim(executor);
  const attempt = await waitUntil('the claim', () => executor.attempts[0]);
  attempt.finish({ exitCode: 0 });
  await reported(task);
  await waitUntil('settling', () => executor.settledTasks.includes(task as string));
  expect(executor.attempts.length).toBe(1);
  expect(pool.reports.length).toBe(1);
});

test('a long poll stays open while all is taken, so that a cancellation arrives at once', async () => {
  const executor = manualExecutor({ cpus: 1 });
  const [task] = pool.submit(SPEC);
  await claim(executor);
  const attempt = await waitUntil('the claim', () => executor.attempts[0]);
  await waitUntil('a poll that asks for nothing', () =>
    pool.exchanges.some((exchange) => exchange.maxClaims === 0 && exchange.waitSeconds > 5),
  );
  pool.drop(task as string);
  await waitUntil('the drop', () => attempt.causes.includes('dropped'));
  expect(pool.reports).toEqual([]);
});

test('a report does not wait for the open poll: it goes at once, under the next number', async () => {
  const executor = manualExecutor({ cpus: 2 });
  const [task] = pool.submit(SPEC);
  await claim(executor);
  const attempt = await waitUntil('the claim', () => executor.attempts[0]);
  await waitUntil('the poll', () => pool.exchanges.length >= 2);
  const before = performance.now();
  attempt.finish();
  await reported(task);
  expect(performance.now() - before).toBeLessThan(1000);
  const numbers = pool.exchanges.map((exchange) => exchange.number);
  expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
});

test('a lost reply costs nothing: its claims are given again and run once', async () => {
  const executor = manualExecutor({ cpus: 4 });
  pool.submit(SPEC, 3);
  let lost = 0;
  pool.fail = (at, body) =>
    at.endsWith('/exchange') && (body as { number: number }).number === 1 && lost++ === 0 ? 'lost' : undefined;
  await claim(executor);
  await waitUntil('all claims', () => executor.attempts.length === 3);
  expect(lost).toBe(1);
  expect(new Set(executor.attempts.map((attempt) => attempt.claim.task)).size).toBe(3);
});

test('a lost answer to a report is no loss: it is sent again until it is answered', async () => {
  const executor = manualExecutor({ cpus: 1 });
  const [task] = pool.submit(SPEC);
  let losses = 0;
  pool.fail = (_at, body) => ((body as { reports?: unknown[] }).reports?.length && losses++ < 2 ? 'lost' : undefined);
  await claim(executor);
  (await waitUntil('the claim', () => executor.attempts[0])).finish();
  await waitUntil('settling', () => executor.settledTasks.includes(task as string));
  expect(pool.reports.length).toBe(3);
});

test('a long list of what is held goes along now and then, and at once when it is asked for', async () => {
  const executor = manualExecutor({ cpus: 500 });
  const tasks = pool.submit(SPEC, 500);
  await claim(executor);
  await waitUntil('all claims', () => executor.attempts.length === 500);
  for (let i = 0; i < 20; i += 1) {
    executor.attempts[i]?.finish();
    await reported(tasks[i]);
  }
  const long = pool.exchanges.filter((exchange) => exchange.number > 2);
  expect(long.length).toBeGreaterThanOrEqual(20);
  expect(long.filter(({ held }) => held === undefined).length).toBeGreaterThan(long.length / 2);
  await waitUntil('a poll', () => pool.exchanges.at(-1)?.reports.length === 0);
  const before = pool.exchanges.length;
  const last = executor.attempts[499];
  pool.drop(tasks[499] as string);
  await waitUntil('the drop', () => last?.causes.includes('dropped'));
  // In the answer to the open poll, or to the one that it asks for.
  expect(pool.exchanges.length - before).toBeLessThanOrEqual(2);
});

test('what is held is told, and why, after an exchange that got no answer, until one is answered', async () => {
  const executor = manualExecutor({ cpus: 500 });
  const tasks = pool.submit(SPEC, 500);
  await claim(executor);
  await waitUntil('all claims', () => executor.attempts.length === 500);
  let isLost = false;
  pool.fail = (_at, body) => {
    if (isLost || !(body as { reports?: unknown[] }).reports?.length) return undefined;
    isLost = true;
    return 'lost';
  };
  executor.attempts[0]?.finish();
  await waitUntil('settling', () => executor.settledTasks.includes(tasks[0] as string));
  const [first, second] = pool.exchanges.filter(({ reports }) => reports.length > 0);
  expect([first?.compare, second?.compare]).toEqual([undefined, true]);
  expect(second?.held?.length).toBe(500);
  executor.attempts[1]?.finish();
  await reported(tasks[1]);
  expect(pool.exchanges.at(-1)?.compare).toBe(undefined);
});

test('thousands of reports travel in batches of at most a thousand', async () => {
  const executor = manualExecutor({ cpus: 2500, instant: true });
  pool.submit(SPEC, 5000);
  await claim(executor);
  await waitUntil('all reports', () => pool.reports.length === 5000);
  expect(Math.max(...pool.exchanges.map((exchange) => exchange.reports.length))).toBeLessThanOrEqual(1000);
  expect(new Set(pool.reports.map((report) => report.task)).size).toBe(5000);
  expect(pool.exchanges.length).toBeLessThan(60);
});

test('while the server is away reports are spooled, and they are gone from the spool when they were answered', async () => {
  const executor = manualExecutor({ cpus: 1 });
  const [task] = pool.submit(SPEC);
  await claim(executor);
  const attempt = await waitUntil('the claim', () => executor.attempts[0]);
  pool.fail = () => 'cut';
  attempt.finish();
  await waitUntil('the spool', () => spoolFiles().length === 1);
  pool.fail = () => undefined;
  await reported(task);
  await waitUntil('an empty spool', () => spoolFiles().length === 0);
});

test('a result of a long program is spooled at once, a short one only if its answer takes long', async () => {
  const executor = manualExecutor({ cpus: 2 });
  pool.submit(SPEC, 2);
  pool.fail = (_at, body) => ((body as { reports?: unknown[] }).reports?.length ? 'cut' : undefined);
  await claim(executor);
  const [first] = await waitUntil('the claims', () => executor.attempts.length === 2 && executor.attempts);
  first?.finish({ wallSeconds: 3600 });
  await waitUntil('the spool', () => spoolFiles().length === 1);
});

test('a session that the server has forgotten is replaced by a new one, and what is held goes on', async () => {
  const executor = manualExecutor({ cpus: 2 });
  const [task] = pool.submit(SPEC);
  await claim(executor);
  const attempt = await waitUntil('the claim', () => executor.attempts[0]);
  pool.forgetSessions();
  executor.grow(1);
  await waitUntil('the second registration', () => pool.registrations.length === 2);
  expect(pool.registrations[1]?.replaces).toEqual({ session: 's1', secret: 'k1', held: [{ task, attempt: 1 }] });
  expect(attempt.causes).toEqual([]);
  attempt.finish();
  await reported(task);
});

test('an incompatible server is named in the log, and the worker stays', async () => {
  pool.fail = () => ({ status: 426, code: 'incompatible-version' });
  await claim(manualExecutor({ cpus: 1 }));
  await waitUntil('the log line', () =>
    log.lines.some((line) => line.level === 'error' && line.text.includes('same version')),
  );
});

test('a refused token is explained, and programs go on', async () => {
  const executor = manualExecutor({ cpus: 2 });
  pool.submit(SPEC);
  await claim(executor);
  const attempt = await waitUntil('the claim', () => executor.attempts[0]);
  pool.fail = () => ({ status: 401, code: 'unauthenticated' });
  executor.grow(1);
  await waitUntil('the log line', () => log.lines.some((line) => line.text.includes('token file')));
  expect(attempt.causes).toEqual([]);
});

test('a report that the server cannot take does not hold up the others, and a plain one takes its place', async () => {
  const executor = manualExecutor({ cpus: 8 });
  const tasks = pool.submit(SPEC, 8);
  pool.fail = (_at, body) =>
    (body as { reports?: { message?: string }[] }).reports?.some((report) => report.message === 'poison')
      ? { status: 400, code: 'bad-request' }
      : undefined;
  await claim(executor);
  await waitUntil('the claims', () => executor.attempts.length === 8);
  for (const attempt of executor.attempts) attempt.finish(attempt.claim.task === tasks[3] ? { message: 'poison' } : {});
  await waitUntil('all reports', () => pool.reports.length === 8);
  expect(await reported(tasks[3])).toMatchObject({
    outcome: 'failed',
    reason: 'output-failed',
    message: expect.stringContaining('could not take'),
  });
  await waitUntil('the original', () => readdirSync(path.join(directory, 'spool/damaged')).length === 1);
});

test('told to drain, it finishes what it has, claims no more and leaves', async () => {
  const executor = manualExecutor({ cpus: 2 });
  const [task] = pool.submit(SPEC);
  const claimant = await claim(executor);
  const attempt = await waitUntil('the claim', () => executor.attempts[0]);
  pool.instruction = 'drain';
  pool.nudge();
  await waitUntil('the word', () => log.lines.some((line) => line.text.includes('finishing')));
  pool.submit(SPEC);
  attempt.finish();
  await claimant.done;
  expect(pool.reports.map((report) => report.task)).toEqual([task]);
  expect(pool.left).toEqual(['s1']);
});

test('told to stop, it ends what runs, reports it as ended and leaves', async () => {
  const executor = manualExecutor({ cpus: 2 });
  const [task] = pool.submit(SPEC);
  const claimant = await claim(executor);
  await waitUntil('the claim', () => executor.attempts[0]);
  pool.instruction = 'stop';
  pool.nudge();
  await claimant.done;
  expect(pool.reports).toMatchObject([{ task, outcome: 'ended' }]);
});

test('stopped while the server is away, it leaves its results in the spool for the next', async () => {
  const executor = manualExecutor({ cpus: 1 });
  const [task] = pool.submit(SPEC);
  const claimant = await claim(executor);
  const attempt = await waitUntil('the claim', () => executor.attempts[0]);
  pool.fail = () => 'cut';
  attempt.finish();
  claimant.stop();
  await claimant.done;
  expect(spoolFiles().length).toBe(1);
  pool.fail = () => undefined;
  await claim(manualExecutor({ cpus: 0 }));
  await reported(task);
});

test('output that grew while somebody follows is sent, and sent again if it did not arrive', async () => {
  const executor = manualExecutor({ cpus: 2 });
  const [task] = pool.submit(SPEC);
  pool.followSeconds = 30;
  await claim(executor);
  const attempt = await waitUntil('the claim', () => executor.attempts[0]);
  let cuts = 0;
  pool.fail = (_at, body) => ((body as { logs?: unknown[] }).logs?.length && cuts++ < 2 ? 'cut' : undefined);
  attempt.logs.push({ task: task as string, attempt: 1, stream: 'stdout', offset: 0, data: 'aGk=' });
  await waitUntil('the output', () =>
    pool.exchanges.some((exchange) => exchange.logs?.some((chunk) => chunk.data === 'aGk=')),
  );
  expect(cuts).toBe(3);
});
