import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type RunningServer, startCommand, startServer } from '../support/running-server.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

interface Submission {
  readonly id: number;
  readonly tasks: number;
  readonly project: string;
}
interface Task {
  readonly id: string;
  readonly state: string;
  readonly index: number;
  readonly payload: unknown;
}

/** With a worker; what waits, waits for resources that it has not. */
let pool: RunningServer;
beforeAll(async () => {
  pool = await startServer(['--workers', '1']);
});
afterAll(() => pool[Symbol.asyncDispose]());

const taskOf = (id: string) => pool.json<Task & Record<string, unknown>>(['task', id]);
const submit = (...argv: string[]) => pool.json<Submission>(['submit', ...argv]);
const isIn = (id: string, state: string) =>
  waitUntil(`${id} is ${state}`, async () => (await taskOf(id)).state === state);

describe('submit', () => {
  test('a job file with inputs, a sweep and outputs, waited for; results are fetched once', async () => {
    const cwd = temporaryDirectory({
      'job/double.sh': 'echo $(( $1 * 2 )) > "out-$2.txt"; cat in/base.txt >> "out-$2.txt"',
      'job/data/base.txt': 'base\n',
      'job/job.yaml': `
name: doubled
command: [sh, double.sh, "{x}", "{y}"]
inputs: [double.sh, { path: data/base.txt, as: in/ }]
outputs: ["out-{y}.txt", { path: never, optional: true }]
each: { x: [1, 2], y: [a, b] }
`,
    });
    const waited = await pool.run(['submit', 'job/job.yaml', '--wait'], { cwd });
    expect(waited).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^submission \d+: 4 tasks in project default \(doubled\)\n$/),
    });
    const id = /\d+/.exec(waited.stdout)![0];
    expect(await pool.run(['results', id, '--to', 'out'], { cwd })).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^4 files in out/),
    });
    expect(readFileSync(path.join(cwd, 'out/4/out-b.txt'), 'utf8')).toBe('4\nbase\n');
    writeFileSync(path.join(cwd, 'out/1/out-a.txt'), 'spoilt');
    const again = await pool.json<{ task: string; skipped: boolean }[]>(['results', id, '--to', 'out'], { cwd });
    expect(again.filter(({ skipped }) => !skipped).map(({ task }) => task)).toEqual([`${id}.1`]);
    expect(readFileSync(path.join(cwd, 'out/1/out-a.txt'), 'utf8')).toBe('2\nbase\n');
    await pool.run(['results', `${id}.2`, '--to', 'one'], { cwd });
    expect(existsSync(path.join(cwd, 'one/out-b.txt'))).toBe(true);
  });

  test('each line of a file, also of many thousands, becomes a task', async () => {
    const cwd = temporaryDirectory({ 'list.txt': Array.from({ length: 25_000 }, (_, at) => `line ${at}\n`).join('') });
    const submission = await pool.json<Submission>(
      ['submit', '--each-line', 'list.txt', '--gpus', '9', '--', 'echo', '{line}'],
      { cwd },
    );
    expect(submission.tasks).toBe(25_000);
    expect(await taskOf(`${submission.id}.25000`)).toMatchObject({ payload: { line: 'line 24999' } });
    expect(await pool.json(['cancel', String(submission.id)])).toEqual({ changed: 25_000 });
  });

  test('lines may come from standard input, and each may bring its own file', async () => {
    const cwd = temporaryDirectory({ 'a.txt': 'A', 'b.txt': 'B' });
    const options = { cwd, stdin: 'a\n\nb\n' };
    const { code, stderr } = await pool.run(
      [
        'submit',
        '--each-line',
        '-',
        '--input',
        '{line}.txt:in.txt',
        '--wait',
        '--',
        'sh',
        '-c',
        'test "$(cat in.txt)" = "$(echo {line} | tr ab AB)"',
      ],
      options,
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: 'pilotage: all 2 tasks succeeded\n' });
  });

  test.each([
    ['values.json', '[{"a": 1, "b": {"c": 2}}, "word"]'],
    ['values.jsonl', '{"a": 1, "b": {"c": 2}}\n"word"\n'],
  ])('each value of %s becomes a task', async (name, content) => {
    const cwd = temporaryDirectory({ [name]: content });
    const { id, tasks } = await pool.json<Submission>(
      ['submit', '--from-json', name, '--gpus', '9', '--', 'echo', '{index}'],
      { cwd },
    );
    expect(tasks).toBe(2);
    expect(await taskOf(`${id}.1`)).toMatchObject({ payload: { a: 1, b: { c: 2 } } });
    expect(await taskOf(`${id}.2`)).toMatchObject({ payload: 'word' });
    await pool.run(['cancel', String(id)]);
  });

  test('steps are submissions that wait for each other; with --json a list', async () => {
    const cwd = temporaryDirectory({
      'steps.yaml':
        'steps:\n  second: { command: [cat, made], after: first, inputs: [made] }\n  first: { command: [sleep, "0.5"], array: 2 }\n',
      made: 'x',
    });
    const [first, second, ...rest] = await pool.json<Submission[]>(['submit', 'steps.yaml'], { cwd });
    expect(rest).toEqual([]);
    expect([first?.tasks, second?.tasks]).toEqual([2, 1]);
    expect(await taskOf(`${second!.id}.1`)).toMatchObject({ state: 'waiting' });
    await isIn(`${second!.id}.1`, 'succeeded');
  });

  test('flags go before what the file says', async () => {
    const cwd = temporaryDirectory({
      'job.yaml': 'command: [echo, "$A"]\nenv: { A: 1, B: 2 }\nresources: { cpus: 1, gpus: 9 }\nname: file\n',
    });
    const { id } = await pool.json<Submission>(
      ['submit', 'job.yaml', '--name', 'flag', '--env', 'A=3', '--memory', '1GiB', '--retries', '2'],
      { cwd },
    );
    expect(await taskOf(`${id}.1`)).toMatchObject({
      name: 'flag',
      spec: { env: { A: '3', B: '2' }, resources: { cpus: 1, gpus: 9, memory: 1024 ** 3 }, retry: { limit: 2 } },
    });
    await pool.run(['cancel', String(id)]);
  });

  test('--wait ends with 1 when something failed, and says what', async () => {
    const { code, stderr } = await pool.run([
      'submit',
      '--array',
      '1-3',
      '--wait',
      '--',
      'sh',
      '-c',
      'exit $(( {index} / 3 ))',
    ]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/1 task failed:\npilotage: +\d+\.3 exit-code \(exit code 1\): see 'pilotage why \d+\.3'/);
  });

  test('what nobody could run is refused with --strict, and else accepted with a note', async () => {
    expect(await pool.run(['submit', '--strict', '--gpus', '9', '--', 'true'])).toMatchObject({ code: 2, stdout: '' });
    const noted = await pool.run(['submit', '--gpus', '9', '--', 'true']);
    expect(noted).toMatchObject({ code: 0, stderr: expect.stringContaining('pilotage: note: ') });
    const id = /\d+/.exec(noted.stdout)![0];
    expect(await pool.run(['why', id])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(new RegExp(`^${id}\\.1 is queued:\\n(.*\\n)*.*9 gpus`)),
    });
    await pool.run(['cancel', id]);
  });

  test('Ctrl-C while waiting leaves the work alone and says how to look at it', async () => {
    const waiting = pool.start(['submit', '--wait', '--gpus', '9', '--', 'true']);
    await waitUntil('it is submitted', () => waiting.stdout().includes('submission'));
    await waitUntil('it is queued', () => isWaitingFor(waiting.stdout()));
    waiting.child.kill('SIGINT');
    const { code, stdout, stderr } = await waiting.done;
    const id = /\d+/.exec(stdout)![0];
    expect(code).toBe(130);
    expect(stderr).toContain(`the work goes on. Look at it with 'pilotage status ${id}'`);
    expect(await taskOf(`${id}.1`)).toMatchObject({ state: 'queued' });
    await pool.run(['cancel', id]);
  });

  test('an unknown project, an unknown dependency and a mistake in a file change nothing', async () => {
    const before = await pool.json<{ submissions: number }>(['status']);
    const cwd = temporaryDirectory({ 'bad.yaml': 'command: [x]\nretrys: 1\n' });
    expect(await pool.run(['submit', '-p', 'nowhere', '--', 'true'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('nowhere'),
    });
    expect(await pool.run(['submit', '--after', '99999', '--', 'true'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('99999'),
    });
    expect(await pool.run(['submit', 'bad.yaml'], { cwd })).toMatchObject({
      code: 2,
      stderr: "pilotage: bad.yaml:2:1: unknown key 'retrys': did you mean 'retries'?\n",
    });
    expect(await pool.json(['status'])).toMatchObject({ submissions: before.submissions });
  });
});

/** The first poll is on its way once the submission has been printed and a moment has passed: asked of the process itself. */
async function isWaitingFor(printed: string): Promise<boolean> {
  const id = /\d+/.exec(printed)?.[0];
  return id !== undefined && (await taskOf(`${id}.1`)).state === 'queued';
}

describe('run', () => {
  test('gives the output as the program wrote it, fetches its files and ends with 0', async () => {
    const cwd = temporaryDirectory({ 'in.txt': 'hello\n' });
    const ran = await pool.run(
      [
        'run',
        '--input',
        'in.txt',
        '--output',
        'out.txt',
        '--',
        'sh',
        '-c',
        'tr a-z A-Z < in.txt | tee out.txt; echo aside >&2',
      ],
      { cwd },
    );
    expect(ran).toMatchObject({ code: 0, stdout: 'HELLO\n', stderr: 'aside\n' });
    expect(readFileSync(path.join(cwd, 'out.txt'), 'utf8')).toBe('HELLO\n');
  });

  test.each([
    ['exit 7', 7],
    ['kill -9 $$', 137],
    ['exec no-such-program', 127],
  ])('%s ends with %i', async (script, code) => {
    expect(await pool.run(['run', '--', 'sh', '-c', script])).toMatchObject({ code });
  });

  test('a program that is not there is 127, one that cannot be run 126, a missing output 1', async () => {
    const cwd = temporaryDirectory({ 'plain.txt': 'x' });
    expect(await pool.run(['run', '--', 'no-such-program'])).toMatchObject({
      code: 127,
      stderr: expect.stringContaining('no-such-program'),
    });
    expect(await pool.run(['run', '--input', 'plain.txt', '--', './plain.txt'], { cwd })).toMatchObject({ code: 126 });
    expect(await pool.run(['run', '--output', 'never.txt', '--', 'true'], { cwd })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('never.txt'),
    });
  });

  test('Ctrl-C cancels the task', async () => {
    const running = pool.start(['run', '--', 'sh', '-c', 'echo started; sleep 1000']);
    await waitUntil('it runs', () => running.stdout().includes('started'));
    running.child.kill('SIGINT');
    const { code, stderr } = await running.done;
    const id = /cancelling (\d+\.1)/.exec(stderr)![1]!;
    expect(code).toBe(130);
    expect(await taskOf(id)).toMatchObject({ state: 'cancelled' });
  });
});

describe('looking', () => {
  test('logs -f follows while the program runs', async () => {
    const { id } = await submit('--', 'sh', '-c', 'echo one; while [ ! -e go ]; do sleep 0.05; done');
    const following = pool.start(['logs', '-f', String(id)]);
    await waitUntil('its output comes', () => following.stdout() === 'one\n');
    expect(await taskOf(`${id}.1`)).toMatchObject({ state: 'running' });
    await pool.run(['cancel', String(id)]);
    expect(await following.done).toMatchObject({ code: 0, stdout: 'one\n' });
  });

  test('status, tasks, task and workers answer people and programs', async () => {
    const { id } = await submit('--name', 'looked at', '--array', '1-3', '--gpus', '9', '--', 'true');
    expect((await pool.run(['status'])).stdout).toMatch(/workers +1 alive/);
    expect((await pool.run(['status', String(id)])).stdout).toMatch(/looked at +3 +.*3 queued/);
    expect((await pool.run(['tasks', String(id), '--limit', '2'])).stdout.split('\n')).toHaveLength(4);
    const tasks = await pool.json<Task[]>(['tasks', String(id)]);
    expect(tasks.map((task) => [task.id, task.state])).toEqual([1, 2, 3].map((index) => [`${id}.${index}`, 'queued']));
    expect(await pool.json<unknown[]>(['tasks', String(id), '--state', 'failed'])).toEqual([]);
    expect((await pool.run(['task', `${id}.1`])).stdout).toMatch(
      /^task +\d+\.1 \(looked at\)\nproject +default, of admin\nstate +queued/,
    );
    expect(await pool.json<{ state: string }[]>(['workers'])).toMatchObject([{ state: 'alive', running: 0 }]);
    expect(await pool.run(['task', String(id)])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(`name one of them, as in '${id}.1'`),
    });
    await pool.run(['cancel', String(id)]);
  });

  test('a reader that has seen enough is no failure', async () => {
    const { id } = await submit('--array', '1-20000', '--gpus', '9', '--', 'true');
    const tasks = pool.start(['tasks', String(id), '--json']);
    await once(tasks.child.stdout!, 'data');
    tasks.child.stdout!.destroy();
    expect(await tasks.done).toMatchObject({ code: 0, stderr: '' });
    await pool.run(['cancel', String(id)]);
  });

  test('what is not there is told', async () => {
    expect(await pool.run(['task', '99999.1'])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^pilotage: .*99999/),
    });
    expect(await pool.run(['results', '99999', '--to', 'x'])).toMatchObject({ code: 1 });
  });
});

describe('changing', () => {
  test('retry and cancel count what they changed', async () => {
    const { id } = await submit('--array', '1-2', '--', 'false');
    await isIn(`${id}.1`, 'failed');
    await isIn(`${id}.2`, 'failed');
    expect((await pool.run(['retry', `${id}.1`])).stdout).toBe('1 task queued again\n');
    await isIn(`${id}.1`, 'failed');
    expect((await taskOf(`${id}.1`)).attempts).toHaveLength(2);
  });

  test('a project is made, listed and used', async () => {
    expect((await pool.run(['project', 'create', 'water'])).code).toBe(0);
    expect(await pool.run(['project', 'create', 'water'])).toMatchObject({ code: 1 });
    expect((await submit('-p', 'water', '--', 'true')).project).toBe('water');
    expect((await pool.json<{ name: string }[]>(['project'])).map(({ name }) => name)).toContain('water');
  });

  test('a token is written to a file of its own, does what it may, and is revoked', async () => {
    const cwd = temporaryDirectory();
    const made = await pool.run(
      ['token', 'create', '--name', 'eve', '--scope', 'read', '--project', 'default', '--to', 'eve.token'],
      { cwd },
    );
    const secret = readFileSync(path.join(cwd, 'eve.token'), 'utf8').trim();
    expect(made).toMatchObject({ code: 0 });
    expect(made.stdout + made.stderr).not.toContain(secret);
    expect(statSync(path.join(cwd, 'eve.token')).mode & 0o777).toBe(0o600);
    const eve = (...argv: string[]) =>
      startCommand(['--server', pool.url(), '--token-file', 'eve.token', ...argv], { cwd }).done;
    expect(await eve('status')).toMatchObject({ code: 0 });
    expect(await eve('submit', '--', 'true')).toMatchObject({ code: 2, stderr: expect.stringContaining('submit') });
    expect(
      await pool.run(['token', 'create', '--name', 'b', '--scope', 'read', '--to', 'eve.token'], { cwd }),
    ).toMatchObject({ code: 1, stderr: expect.stringContaining('is there already') });
    const [token] = (await pool.json<{ id: number; name: string }[]>(['token'])).filter(({ name }) => name === 'eve');
    expect(await pool.run(['token', 'revoke', String(token!.id)])).toMatchObject({ code: 0 });
    expect(await eve('status')).toMatchObject({ code: 2, stderr: expect.stringMatching(/^pilotage: .*revoked|token/) });
  });
});

describe('a server that goes and comes back', () => {
  test('is waited for by submit --wait, run and logs -f, which lose nothing', async () => {
    await using server = await startServer();
    const worker = server.start([
      'worker',
      '--slots',
      '2',
      '--cache',
      path.join(server.data, 'own'),
      '--until-idle',
      '60s',
    ]);
    onTestFinished(() => void worker.child.kill('SIGKILL'));
    const cwd = temporaryDirectory();
    const script = 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo $i; sleep 0.5; done; echo x > out.txt';
    const waiting = server.start(['submit', '--wait', '--', 'sh', '-c', script], { cwd });
    const running = server.start(['run', '--output', 'out.txt', '--', 'sh', '-c', script], { cwd });
    await waitUntil('both run', () => running.stdout().includes('3\n') && waiting.stdout().includes('submission'));
    const following = server.start(['logs', '-f', /\d+/.exec(waiting.stdout())![0]]);
    await waitUntil('its output comes', () => following.stdout().includes('3\n'));
    await server.kill('SIGKILL');
    await server.restart();
    const output = Array.from({ length: 12 }, (_, at) => `${at + 1}\n`).join('');
    expect(await running.done).toMatchObject({ code: 0, stdout: output });
    expect(await following.done).toMatchObject({ code: 0, stdout: output });
    expect(await waiting.done).toMatchObject({ code: 0, stderr: expect.stringContaining('the task succeeded') });
    expect(readFileSync(path.join(cwd, 'out.txt'), 'utf8')).toBe('x\n');
    worker.child.kill('SIGTERM');
    await worker.done;
  });

  test('that never was ends with 3', async () => {
    const data = temporaryDirectory();
    const { code, stderr } = await startCommand(['status', '--data', data], {}).done;
    expect({ code, stderr }).toEqual({
      code: 3,
      stderr: `pilotage: no server is running in '${data}': start one with 'pilotage serve', or name one with --server URL\n`,
    });
  });
});

test('workers are drained and stopped by name and all at once', async () => {
  await using server = await startServer();
  const start = (name: string) => {
    const worker = server.start(['worker', '--name', name, '--slots', '1', '--cache', path.join(server.data, name)]);
    onTestFinished(() => void worker.child.kill('SIGKILL'));
    return worker;
  };
  const [one, two] = [start('one'), start('two')];
  await waitUntil('both are there', async () => (await server.json<unknown[]>(['workers'])).length === 2);
  expect(await server.json(['workers', 'drain', 'one'])).toEqual({ changed: 1 });
  expect(await one.done).toMatchObject({ code: 0 });
  expect(await server.json(['workers', 'stop', '--all'])).toEqual({ changed: 1 });
  expect(await two.done).toMatchObject({ code: 0 });
});

test('a terminal sees a bar with rate and time left', async () => {
  const { data } = pool;
  const command = `stty cols 150; bin/pilotage submit --array 1-20 --wait --data ${data} -- sleep 0.1`;
  const terminal = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['ignore', 'pipe', 'inherit'] });
  let seen = '';
  terminal.stdout.on('data', (piece: Buffer) => {
    seen += piece.toString('utf8');
  });
  expect(await once(terminal, 'close')).toEqual([0, null]);
  expect(seen).toMatch(/tasks █+░* \d+% \| \d+\/20 \| [\d.]+\/s \| [\d.]+m?s left/);
  expect(seen).toContain('20/20 | done');
});
