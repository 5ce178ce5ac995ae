import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Digest } from '../../../src/ground/base/digest.ts';
import { formatTree, parseTree } from '../../../src/ground/content/tree.ts';
import type { TaskSpec } from '../../../src/ground/protocol/spec.ts';
import { waitUntil } from '../../support/wait-until.ts';
import { type Bench, startBench, textOf } from '../../support/worker-harness.ts';

let bench: Bench;
beforeAll(async () => {
  bench = await startBench();
  await bench.start({ slots: 4 });
});
afterAll(() => bench.close());

const sh = async (script: string, spec: TaskSpec = {}, payload?: unknown) => {
  const [task] = bench.pool.submit({ command: ['sh', '-c', script], ...spec }, 1, () => payload);
  return bench.reportOf(task);
};
const blob = (digest: string | undefined) => bench.pool.blobs.get(digest ?? '')?.toString();

describe('inputs', () => {
  test('a file is put where it is named, executable if it was', async () => {
    const digest = bench.pool.put('#!/bin/sh\necho ran $1\n');
    const inputs = [
      { name: 'bin/{name}.sh', digest, kind: 'file' as const, executable: true },
      { name: 'data/plain', digest, kind: 'file' as const },
    ];
    const report = await sh(
      'bin/tool.sh x; test -x data/plain && echo wrong; head -1 data/plain',
      { inputs },
      { name: 'tool' },
    );
    expect(textOf(report.stdout)).toBe('ran x\n#!/bin/sh\n');
  });

  test('and outputs keep their permissions', async () => {
    const digest = bench.pool.put('content\n') as Digest;
    const tree = bench.pool.put(
      formatTree([
        { path: 'a', mode: 'directory', permissions: '500' },
        { path: 'a/file', mode: 'file', digest, size: 8, permissions: '640' },
      ]),
    );
    const inputs = [
      { name: 'in', digest: tree, kind: 'tree' as const, permissions: '750' },
      { name: 'key', digest, kind: 'file' as const, permissions: '600' },
    ];
    const script = 'stat -c "%a %n" in in/a in/a/file key; echo x > out; chmod 604 out; mkdir dir; chmod 2711 dir';
    const report = await sh(script, { inputs, outputs: [{ pattern: 'out' }, { pattern: 'dir' }] });
    expect(textOf(report.stdout)).toBe('750 in\n500 in/a\n640 in/a/file\n600 key\n');
    expect(report.outputs).toMatchObject([
      { name: 'out', permissions: '604' },
      { name: 'dir', kind: 'tree', permissions: '711' },
    ]);
  });

  test('a directory is put there with its links', async () => {
    const digest = bench.pool.put('content\n') as Digest;
    const tree = bench.pool.put(
      formatTree([
        { path: 'a/file', mode: 'file', digest, size: 8 },
        { path: 'a/empty', mode: 'directory' },
        { path: 'link', mode: 'symlink', target: 'a/file' },
      ]),
    );
    const report = await sh('cat in/link; ls in/a', { inputs: [{ name: 'in', digest: tree, kind: 'tree' }] });
    expect(textOf(report.stdout)).toBe('content\nempty\nfile\n');
  });

  test('names may hold quotes, spaces and newlines, alone and inside a directory', async () => {
    const digest = bench.pool.put('content\n') as Digest;
    const odd = `it's "odd"\n$(name) \\`;
    const tree = bench.pool.put(formatTree([{ path: `${odd}/${odd}`, mode: 'file', digest, size: 8 }]));
    const report = await sh('find . -type f -print0', {
      inputs: [
        { name: odd, digest, kind: 'file' },
        { name: 'in', digest: tree, kind: 'tree' },
      ],
    });
    expect(textOf(report.stdout).split('\0').sort()).toEqual(['', `./${odd}`, `./in/${odd}/${odd}`].sort());
  });

  test('an input that comes to the place of a link replaces it, and is not written through it', async () => {
    const digest = bench.pool.put('content\n') as Digest;
    const tree = bench.pool.put(
      formatTree([
        { path: 'file', mode: 'file', digest: bench.pool.put('kept\n') as Digest, size: 5 },
        { path: 'link', mode: 'symlink', target: 'file' },
      ]),
    );
    const report = await sh('cat in/file in/link; test -L in/link && echo wrong', {
      inputs: [
        { name: 'in', digest: tree, kind: 'tree' },
        { name: 'in/link', digest, kind: 'file' },
      ],
    });
    expect(textOf(report.stdout)).toBe('kept\ncontent\n');
  });

  test('a blob that the server lacks fails the task with that reason', async () => {
    const report = await sh('true', { inputs: [{ name: 'x', digest: 'f'.repeat(64), kind: 'file' }] });
    expect(report).toMatchObject({ outcome: 'failed', reason: 'input-failed' });
  });

  test('bytes that are not what their digest says are refused', async () => {
    const digest = createHash('sha256').update('good').digest('hex');
    bench.pool.blobs.set(digest, Buffer.from('evil'));
    const report = await sh('cat x', { inputs: [{ name: 'x', digest, kind: 'file' }] });
    expect(report).toMatchObject({
      outcome: 'failed',
      reason: 'input-failed',
      message: expect.stringContaining(digest),
    });
  });

  test.each(['../x', '/tmp/pilotage-x', 'a/../../x'])('nothing is written to %s', async (name) => {
    const digest = bench.pool.put('x');
    expect(await sh('true', { inputs: [{ name, digest, kind: 'file' }] })).toMatchObject({ reason: 'input-failed' });
  });

  test('a program may change its inputs without changing those of others', async () => {
    const digest = bench.pool.put('original');
    const inputs = [{ name: 'x', digest, kind: 'file' as const }];
    await sh('echo changed > x', { inputs });
    expect(textOf((await sh('cat x', { inputs })).stdout)).toBe('original');
  });
});

describe('outputs', () => {
  test('a literal name may be a file or a directory, a pattern finds both', async () => {
    const report = await sh('mkdir -p out/deep; echo 1 > out/deep/a; echo 2 > b.txt; echo 3 > c.txt; chmod +x c.txt', {
      outputs: [{ pattern: 'out' }, { pattern: '*.txt' }],
    });
    expect(report.outcome).toBe('succeeded');
    expect(report.outputs).toMatchObject([
      { name: 'out', kind: 'tree', size: 2 },
      { name: 'b.txt', kind: 'file', size: 2 },
      { name: 'c.txt', kind: 'file', executable: true },
    ]);
    const tree = parseTree(blob(report.outputs?.[0]?.digest) ?? '');
    expect(tree.entries).toMatchObject([{ path: 'deep/a', mode: 'file', size: 2 }]);
    expect(blob(report.outputs?.[1]?.digest)).toBe('2\n');
  });

  test('one that cannot be kept does not cost the others that fit the same pattern', async () => {
    const report = await sh('ln -s nowhere a.dat; echo 2 > b.dat', { outputs: [{ pattern: '*.dat' }] });
    expect(report).toMatchObject({ outcome: 'failed', reason: 'output-failed', outputs: [{ name: 'b.dat' }] });
    expect(report.message).toContain("the output 'a.dat' could not be kept: 'a.dat' is a link to nothing");
  });

  test('placeholders in patterns are filled', async () => {
    const report = await sh('echo x > run-300.dat', { outputs: [{ pattern: 'run-{t}.dat' }] }, { t: 300 });
    expect(report.outputs).toMatchObject([{ name: 'run-300.dat' }]);
  });

  test('a missing output fails the task, names it and says what is there', async () => {
    const report = await sh('touch near-miss.txt; mkdir sub', { outputs: [{ pattern: 'result.txt' }] });
    expect(report).toMatchObject({ outcome: 'failed', reason: 'missing-output', exitCode: 0 });
    expect(report.message).toMatch(/'result.txt'.*near-miss.txt, sub\//s);
  });

  test('an optional output may be missing', async () => {
    expect(await sh('true', { outputs: [{ pattern: '*.none', optional: true }] })).toMatchObject({
      outcome: 'succeeded',
      outputs: [],
    });
  });

  test('outputs of a failed program are kept as far as they are there', async () => {
    const report = await sh('echo why > trace; exit 3', { outputs: [{ pattern: 'trace' }, { pattern: 'result' }] });
    expect(report).toMatchObject({ outcome: 'failed', reason: 'exit-code', exitCode: 3, outputs: [{ name: 'trace' }] });
  });

  test.each([
    ['a link to a file outside', 'ln -s /etc/passwd out'],
    ['a link to a directory outside', 'ln -s /etc out'],
    ['a directory with a link outside', 'mkdir out; ln -s /etc/passwd out/x'],
    ['a path through a link outside', 'ln -s /etc d', 'd/passwd'],
  ])('%s is not followed', async (_name, script, pattern = 'out') => {
    const before = bench.pool.uploads.length;
    const report = await sh(script, { outputs: [{ pattern }] });
    expect(report).toMatchObject({ outcome: 'failed', reason: 'output-failed', outputs: [] });
    expect(bench.pool.uploads.length).toBe(before);
  });

  test('a link inside the sandbox is followed', async () => {
    const report = await sh('echo x > real; ln -s real out', { outputs: [{ pattern: 'out' }] });
    expect(report).toMatchObject({ outcome: 'succeeded', outputs: [{ name: 'out', kind: 'file', size: 2 }] });
  });

  test('what the server has already is not sent again', async () => {
    bench.pool.put('same\n');
    const before = bench.pool.uploads.length;
    await sh('echo same > out', { outputs: [{ pattern: 'out' }] });
    expect(bench.pool.uploads.length).toBe(before);
  });

  test('while the server is away outputs wait, and the report comes after them', async () => {
    let refused = 0;
    bench.pool.fail = (at) => (at.includes('/blobs') && refused++ < 3 ? 'cut' : undefined);
    const report = await sh('echo late-$RANDOM > out', { outputs: [{ pattern: 'out' }] });
    expect(report.outcome).toBe('succeeded');
    expect(blob(report.outputs?.[0]?.digest)).toContain('late');
    expect(refused).toBeGreaterThan(3);
    bench.pool.fail = () => undefined;
  });

  test('a dropped task does not go on trying', async () => {
    bench.pool.fail = (at) => (at.includes('/blobs') ? 'cut' : undefined);
    const [task] = bench.pool.submit({ command: ['sh', '-c', 'echo x$$ > out'], outputs: [{ pattern: 'out' }] });
    await waitUntil('the start', () => bench.pool.running.has(task as string));
    await waitUntil('the wait', () => bench.log.lines.some((line) => line.text.includes('files have to wait')));
    bench.pool.drop(task as string);
    bench.pool.fail = () => undefined;
    expect((await sh('true')).outcome).toBe('succeeded');
    expect(bench.pool.reports.some((report) => report.task === task)).toBe(false);
  });
});
