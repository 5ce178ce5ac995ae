import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { routes } from '../../src/ground/protocol/routes.ts';
import type { TaskDetail } from '../../src/ground/protocol/task.ts';
import { clientOf } from '../support/api.ts';
import { type RunningServer, startServer } from '../support/running-server.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

interface Usage {
  readonly blobs: number;
  readonly bytes: number;
  readonly unreferencedBlobs: number;
  readonly quotaBytes: number | null;
}

let server: RunningServer;
beforeAll(async () => {
  server = await startServer(['--workers', '1', '--blob-grace', '1s']);
});
afterAll(() => server[Symbol.asyncDispose]());

const usage = (project = 'default') => server.json<Usage>(['project', 'usage', project]);
const filesOfServer = () =>
  readdirSync(path.join(server.data, 'blobs'), { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
const submit = async (argv: readonly string[], cwd?: string) => {
  const { code, stdout, stderr } = await server.run(
    ['--json', 'submit', '--wait', ...argv],
    cwd === undefined ? {} : { cwd },
  );
  expect([code, stderr]).toEqual([0, stderr]);
  return JSON.parse(stdout) as { id: number; reused: number; tasks: number };
};
const results = async (id: string, name: string) => {
  const to = temporaryDirectory();
  await server.run(['results', id, '--to', to]);
  return readFileSync(path.join(to, name), 'utf8');
};

describe('what nothing refers to', () => {
  test('goes after the grace time, its bytes too; what is referred to stays, also within directories', async () => {
    const cwd = temporaryDirectory({ 'in/a.txt': 'a of this test', 'in/b.txt': 'b of this test' });
    const { id } = await submit(
      ['-i', 'in', '-o', 'out', '--', 'sh', '-c', 'mkdir out; echo kept > out/x; seq 20000'],
      cwd,
    );
    const lonely = randomBytes(100);
    const client = clientOf(server);
    const digest = Buffer.from(await crypto.subtle.digest('SHA-256', lonely)).toString('hex');
    await client.call(routes.putBlob, {
      params: { project: 'default', digest },
      raw: Readable.from([lonely]),
      headers: { 'content-length': '100' },
    });
    expect((await usage()).unreferencedBlobs).toBe(1);
    await waitUntil('the lonely one is gone', async () => (await usage()).unreferencedBlobs === 0, 30);
    // Two inputs and their directory, one output and its directory, and the log that is too long for a table.
    expect((await usage()).blobs).toBe(6);
    expect(filesOfServer()).toHaveLength(6);
    expect(await results(`${id}.1`, 'out/x')).toBe('kept\n');
    expect((await server.run(['logs', `${id}.1`])).stdout).toContain('19999\n');
    expect((await server.run(['forget', String(id)])).stdout).toBe('1 submission removed\n');
    await waitUntil('all is gone', async () => (await usage()).blobs === 0, 30);
    expect(filesOfServer()).toHaveLength(0);
    expect((await server.run(['task', `${id}.1`])).stderr).toContain('there is no task');
  });

  test('may come again while it goes: whoever was told that it is there finds it', async () => {
    const file = 'again.txt';
    const cwd = temporaryDirectory({ [file]: 'comes and goes' });
    for (let round = 0; round < 8; round += 1) {
      const { id } = await submit(['-i', file, '-o', file, '--', 'true'], cwd);
      expect(await results(`${id}.1`, file)).toBe('comes and goes');
      await server.run(['forget', String(id)]);
    }
  });
});

describe('forget', () => {
  test('says what stands in the way', async () => {
    const { stdout } = await server.run(['--json', 'submit', '--gpus', '9', '--', 'true']);
    const { id } = JSON.parse(stdout) as { id: number };
    const refused = await server.run(['forget', String(id)]);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain(`pilotage cancel ${id}`);
    expect((await server.run(['forget', `${id}.1`])).stderr).toContain('only whole submissions');
    expect((await server.run(['forget'])).code).toBe(2);
    await server.run(['cancel', String(id)]);
    expect(await server.json(['forget', '--finished'])).toEqual({ changed: 1 });
    expect(await server.json(['tasks'])).toEqual([]);
  });
});

test('what waited in vain for a submission that was forgotten cannot be retried, and says so', async () => {
  const first = JSON.parse((await server.run(['--json', 'submit', '--wait', '--', 'false'])).stdout) as { id: number };
  const { stdout } = await server.run(['--json', 'submit', '--after', String(first.id), '--', 'true']);
  const { id } = JSON.parse(stdout) as { id: number };
  const state = async () => (await server.json<TaskDetail>(['task', `${id}.1`])).state;
  await waitUntil('it failed with what it waits for', async () => (await state()) === 'failed', 30);
  expect(await server.run(['forget', String(first.id)])).toMatchObject({ code: 0, stderr: '' });
  const { code, stderr } = await server.run(['retry', String(id)]);
  expect(code).not.toBe(0);
  expect(stderr).toContain(`submission ${id} waits for submission ${first.id}, which was removed: submit it anew`);
  expect((await server.run(['retry', '--failed'])).code).toBe(0);
  expect(await state()).toBe('failed');
  await server.run(['forget', String(id)]);
});

test('bytes that the store lost come back with the next submission that has them', async () => {
  const cwd = temporaryDirectory({ 'lost.txt': 'lost in the store' });
  const argv = ['-i', 'lost.txt', '-o', 'lost.txt', '--', 'true'];
  const { id } = await submit(argv, cwd);
  const digest = createHash('sha256').update('lost in the store').digest('hex');
  rmSync(path.join(server.data, 'blobs', digest.slice(0, 2), digest.slice(2)));
  const refused = await server.run(['results', String(id), '--to', temporaryDirectory()]);
  expect(refused.code).not.toBe(0);
  expect(refused.stderr).toContain('Submitting a file with these bytes once more brings them back');
  await submit(argv, cwd);
  expect(await results(`${id}.1`, 'lost.txt')).toBe('lost in the store');
});

describe('a quota', () => {
  test('is kept: a submission over it is refused before a byte is sent, and an output over it fails with the reason', async () => {
    await server.run(['project', 'create', 'small']);
    expect(await server.json(['project', 'quota', 'small', '1MiB'])).toMatchObject({ quotaBytes: 1024 ** 2 });
    const cwd = temporaryDirectory({});
    writeFileSync(path.join(cwd, 'large'), randomBytes(2 * 1024 ** 2));
    const before = filesOfServer().length;
    const refused = await server.run(['submit', '-p', 'small', '-i', 'large', '--', 'true'], { cwd });
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(
      /2 MiB more do not fit into project 'small': it may keep 1 MiB.*pilotage forget.*project quota/,
    );
    expect(filesOfServer()).toHaveLength(before);
    const { stdout } = await server.run([
      ...['--json', 'submit', '-p', 'small', '--wait', '-o', 'out', '--'],
      ...['sh', '-c', 'head -c 3000000 /dev/urandom > out'],
    ]);
    const { id } = JSON.parse(stdout) as { id: number };
    const task = await server.json<TaskDetail>(['task', `${id}.1`]);
    expect(task).toMatchObject({ state: 'failed', reason: 'output-failed' });
    expect(task.message).toContain("do not fit into project 'small'");
    expect(await usage('small')).toMatchObject({ blobs: 0, bytes: 0 });
    await server.run(['project', 'quota', 'small', 'none']);
    expect((await server.run(['submit', '-p', 'small', '-i', 'large', '--wait', '--', 'true'], { cwd })).code).toBe(0);
    expect((await usage('small')).quotaBytes).toBeNull();
  });

  test('is set by administrators only, to a size that can be read', async () => {
    expect((await server.run(['project', 'quota', 'small', 'much'])).code).toBe(2);
    const token = await clientOf(server).call(routes.createToken, { body: { name: 'reader', scopes: ['read'] } });
    const file = path.join(temporaryDirectory(), 'token');
    writeFileSync(file, token.token, { mode: 0o600 });
    const refused = await server.run([
      '--server',
      server.url(),
      '--token-file',
      file,
      'project',
      'quota',
      'small',
      '1GiB',
    ]);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain('admin');
  });
});

describe('outputs as inputs', () => {
  const job = `
steps:
  - name: prepare
    command: [sh, -c, "echo one > a.txt; mkdir d; echo two > d/b.txt; chmod +x a.txt"]
    outputs: [a.txt, d]
  - name: fan
    array: 1-3
    command: [sh, -c, "test -x renamed.txt; echo $(cat renamed.txt) $(cat all/d/b.txt) {index} > r{index}.txt"]
    inputs:
      - { from: prepare, path: a.txt, as: renamed.txt }
      - { from: prepare, as: all }
    outputs: ["r{index}.txt"]
  - name: gather
    command: [sh, -c, "cat parts/*/*.txt > sum.txt; cat second/r2.txt >> sum.txt"]
    inputs:
      - { from: fan, as: parts }
      - { from: fan.2, as: second/ }
    outputs: [sum.txt]
  - name: each
    array: 1-3
    command: [sh, -c, "cat r{index}.txt > again.txt"]
    inputs: [{ from: "fan.{index}" }]
    outputs: [again.txt]
`;

  test('go from task to task without coming here: by name, by pattern, one, all, and each its own', async () => {
    const cwd = temporaryDirectory({ 'job.yaml': job });
    const { stdout, stderr, code } = await server.run(['--json', 'submit', '--wait', 'job.yaml'], { cwd });
    expect([code, stderr]).toEqual([0, stderr]);
    const ids = (JSON.parse(stdout) as { id: number; name: string }[]).map(({ id }) => id);
    expect(await results(`${ids[2]}.1`, 'sum.txt')).toBe('one two 1\none two 2\none two 3\none two 2\n');
    expect(await results(`${ids[3]}.3`, 'again.txt')).toBe('one two 3\n');
    const { id } = await submit(['--from', `${ids[1]}.1/r1.txt:mine`, '-o', 'mine', '--', 'cat', 'mine']);
    expect(await results(`${id}.1`, 'mine')).toBe('one two 1\n');
    await server.run(['forget', String(ids[0])]);
    const late = await server.run(['submit', '--wait', '--from', String(ids[0]), '--', 'true']);
    expect(late.stderr).toContain(`${ids[0]}`);
    expect(late.code).not.toBe(0);
  });

  test('what was not left fails the task with the reason; a step that does not exist is told at once', async () => {
    const { id } = await submit(['-o', 'a', '--', 'sh', '-c', 'echo > a']);
    const { stdout } = await server.run(['--json', 'submit', '--wait', '--from', `${id}/nothing`, '--', 'true']);
    const task = await server.json<TaskDetail>(['task', `${(JSON.parse(stdout) as { id: number }).id}.1`]);
    expect(task).toMatchObject({ state: 'failed', reason: 'input-failed' });
    expect(task.message).toContain(`task ${id}.1 left no 'nothing'`);
    const cwd = temporaryDirectory({ 'job.yaml': 'command: ["true"]\ninputs: [{ from: prepre }]\n' });
    const wrong = await server.run(['submit', 'job.yaml'], { cwd });
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toMatch(/job.yaml:2:\d+: there is no step 'prepre'/);
  });
});

describe('--reuse', () => {
  test('answers from a task with the same command, environment and inputs, and says so', async () => {
    const cwd = temporaryDirectory({ 'in.txt': 'one' });
    const argv = [
      '--reuse',
      '-i',
      'in.txt',
      '-e',
      'A=1',
      '-o',
      'out',
      '--',
      'sh',
      '-c',
      'cat in.txt > out; date +%N >> out; echo said',
    ];
    const first = await submit(argv, cwd);
    const second = await server.run(['submit', '--wait', ...argv], { cwd });
    expect(second.stdout).toMatch(/1 task in project default, 1 of them answered from earlier ones/);
    const id = Number(/submission (\d+)/.exec(second.stdout)?.[1]);
    expect(await results(`${id}.1`, 'out')).toBe(await results(`${first.id}.1`, 'out'));
    expect((await server.run(['logs', `${id}.1`])).stdout).toBe('said\n');
    expect((await server.run(['why', `${id}.1`])).stdout).toContain(`task ${first.id}.1 had asked the same`);
    for (const [what, other] of [
      ['input', async () => writeFileSync(path.join(cwd, 'in.txt'), 'two')],
      ['environment', async () => argv.splice(argv.indexOf('A=1'), 1, 'A=2')],
      ['command', async () => argv.splice(-1, 1, 'cat in.txt > out')],
    ] as const) {
      await other();
      expect([what, (await submit(argv, cwd)).reused]).toEqual([what, 0]);
      expect([what, (await submit(argv, cwd)).reused]).toEqual([what, 1]);
    }
  });

  test('holds along steps that take their inputs from others', async () => {
    const cwd = temporaryDirectory({
      'in.txt': 'one',
      'job.yaml': `
reuse: true
steps:
  first: { command: [sh, -c, "cat in.txt > a; date +%N > nanoseconds"], inputs: [in.txt], outputs: [a, nanoseconds] }
  second: { command: [sh, -c, "cat a > b; date +%N >> b"], inputs: [{ from: first, path: a }], outputs: [b] }
  third: { command: [sh, -c, "cat b"], inputs: [{ from: second }], array: 1-3 }
`,
    });
    const run = async () => {
      const { code, stdout, stderr } = await server.run(['--json', 'submit', '--wait', 'job.yaml'], { cwd });
      expect([code, stderr]).toEqual([0, stderr]);
      const made = JSON.parse(stdout) as { id: number }[];
      const seen = [];
      for (const { id } of made) seen.push(await clientOf(server).call(routes.submission, { params: { id } }));
      return seen;
    };
    expect((await run()).map(({ reused }) => reused)).toEqual([0, 0, 0]);
    const again = await run();
    expect(again.map(({ reused, counts }) => [reused, counts.succeeded])).toEqual([
      [1, 1],
      [1, 1],
      [3, 3],
    ]);
    expect(await results(`${again[1]!.id}.1`, 'b')).toMatch(/^one\d+\n$/);
    writeFileSync(path.join(cwd, 'in.txt'), 'two');
    expect((await run()).map(({ reused }) => reused)).toEqual([0, 0, 0]);
  });

  test('a sweep that grew runs only what is new', async () => {
    const cwd = temporaryDirectory({});
    const sweep = (x: string) =>
      `command: [sh, -c, "echo {x} {y} > out"]\noutputs: [out]\nreuse: true\neach: { x: ${x}, y: [1, 2] }\n`;
    writeFileSync(path.join(cwd, 'job.yaml'), sweep('[1, 2]'));
    expect((await submit(['job.yaml'], cwd)).reused).toBe(0);
    writeFileSync(path.join(cwd, 'job.yaml'), sweep('[0, 1, 2, 3]'));
    const grown = await submit(['job.yaml'], cwd);
    expect(grown).toMatchObject({ tasks: 8, reused: 4 });
    expect(await results(`${grown.id}.3`, 'out')).toBe('1 1\n');
    expect((await submit(['job.yaml'], cwd)).reused).toBe(8);
  });
});

test('a directory made by hand that leads outside, or lists what is not there, is refused at the submission', async () => {
  const client = clientOf(server);
  const put = async (text: string) => {
    const bytes = Buffer.from(text);
    const digest = Buffer.from(await crypto.subtle.digest('SHA-256', bytes)).toString('hex');
    const raw = Readable.from([bytes]);
    await client.call(routes.putBlob, {
      params: { project: 'default', digest },
      raw,
      headers: { 'content-length': String(bytes.length) },
    });
    return digest;
  };
  const file = await put('x');
  const tree = (entry: object) => put(JSON.stringify({ tree: 1, entries: [entry] }));
  const submitTree = async (digest: string) =>
    client.call(routes.submit, {
      body: { steps: [{ spec: { command: ['true'], inputs: [{ name: 'd', digest, kind: 'tree' }] } }] },
    });
  const size = 1;
  for (const entry of [
    { path: '../x', mode: 'file', digest: file, size },
    { path: '/etc/x', mode: 'file', digest: file, size },
    { path: 'l', mode: 'symlink', target: '/etc' },
    { path: 'l', mode: 'symlink', target: '../..' },
  ])
    await expect(submitTree(await tree(entry))).rejects.toMatchObject({ code: 'bad-request' });
  await expect(submitTree(await tree({ path: 'x', mode: 'file', digest: 'f'.repeat(64), size }))).rejects.toMatchObject(
    {
      code: 'not-found',
      message: expect.stringContaining("the directory 'd' lists 1 file(s) that were not uploaded"),
    },
  );
  for (const name of ['../up', '/abs', 'a/../../b'])
    await expect(
      client.call(routes.submit, {
        body: { steps: [{ spec: { command: ['true'], inputs: [{ name, digest: file, kind: 'file' }] } }] },
      }),
    ).rejects.toMatchObject({ code: 'bad-spec' });
});
