import { describe, expect, test } from 'vitest';
import { parseJobFile } from '../../../../src/face/cli/job-file/parse-job-file.ts';
import { checkJob } from '../../../../src/face/cli/submission/check-job.ts';
import { findInputs } from '../../../../src/face/cli/submission/find-inputs.ts';
import { temporaryDirectory } from '../../../support/temporary-directory.ts';

function check(text: string, files: Record<string, string> = {}): Promise<number[]> {
  const directory = temporaryDirectory(files);
  return checkJob(parseJobFile(text, { fileName: 'job.yaml', directory, now: new Date() }));
}

describe('a job before it is sent', () => {
  test.each([
    ['one task', 'command: [x]', [1]],
    ['an array', 'command: [x, "{index}"]\narray: 1-5000000', [5_000_000]],
    ['a cross product', 'command: [x, "{a}{b}"]\neach: { a: [1, 2], b: [1, 2, 3] }', [6]],
    ['two steps', 'steps: [{ command: [x] }, { command: [y], items: [1, 2] }]', [1, 2]],
  ])('%s is counted', async (_what, text, counts) => {
    expect(await check(text)).toEqual(counts);
  });

  test.each([
    [
      'command',
      'command: [x, "{temprature}"]\neach: { temperature: [1] }',
      "job.yaml:1:14: '{temprature}' in the command has no value in task 1: did you mean '{temperature}'?",
    ],
    ['environment', 'command: [x]\nenv: { A: "{b}" }', "job.yaml:2:11: '{b}' in the variable A has no value"],
    ['output', 'command: [x]\noutputs: ["{b}.txt"]', "job.yaml:2:11: '{b}' in the output has no value"],
    ['input', 'command: [x]\ninputs: ["{b}.txt"]', "job.yaml:2:10: '{b}' in the input has no value"],
    [
      'one of many items',
      'command: [x, "{a}"]\nitems: [{ a: 1 }, { b: 2 }]',
      "'{a}' in the command has no value in task 2",
    ],
  ])('a placeholder without a value in the %s is told with its task', async (_where, text, message) => {
    await expect(check(text)).rejects.toThrow(
      expect.objectContaining({ code: 'missing-placeholder', message: expect.stringContaining(message) }),
    );
  });

  test("what the shell's braces hold is no placeholder", async () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the shell's
    expect(await check('command: "echo ${HOME} {1..3} {{x}} | awk \'{print $1}\'"')).toEqual([1]);
  });

  test('inputs that are not there are all named', async () => {
    const text = 'command: [x]\ninputs: [a, b, "{n}.dat"]\nitems: [{ n: 1 }, { n: 2 }]';
    await expect(check(text, { a: '', '2.dat': '' })).rejects.toThrow(
      /2 inputs are not there: 'b', '1\.dat' \(looked for in '/,
    );
  });

  test('of many that are not there the first ten', async () => {
    await expect(check('command: [x]\ninputs: ["{index}.dat"]\narray: 1-30')).rejects.toThrow("'10.dat' and 20 more");
  });

  test('inputs by index need an array that counts from 1', async () => {
    await expect(check('command: [x]\ninputs: ["{index}.dat"]\narray: 0-3')).rejects.toThrow(
      "job.yaml:3:8: inputs with '{index}' need an array that counts 1, 2, 3",
    );
  });
});

describe('inputs', () => {
  const template = (text: string) => ({ text, at: '' });

  async function names(source: string, name?: string) {
    const base = temporaryDirectory({
      'data/a.dat': 'a',
      'data/deep/b.dat': 'b',
      'data/deep/c.txt': 'c',
      'other/d.dat': 'd',
      'data/[x].dat': 'x',
    });
    const { found, missing } = await findInputs(
      [{ source: template(source), base: `${base}/data`, ...(name === undefined ? {} : { name: template(name) }) }],
      {},
    );
    return [
      ...found.map((input) => `${input.file.replace(base, '')} ${input.name}`),
      ...missing.map((one) => `missing ${one}`),
    ];
  }

  test.each([
    ['a.dat', undefined, ['/data/a.dat a.dat']],
    ['./deep/b.dat', undefined, ['/data/deep/b.dat deep/b.dat']],
    ['../other/d.dat', undefined, ['/other/d.dat d.dat']],
    ['deep', undefined, ['/data/deep deep']],
    ['deep/*', undefined, ['/data/deep/b.dat deep/b.dat', '/data/deep/c.txt deep/c.txt']],
    ['deep/*', 'in', ['/data/deep/b.dat in/b.dat', '/data/deep/c.txt in/c.txt']],
    ['**/*.dat', undefined, ['/data/[x].dat [x].dat', '/data/a.dat a.dat', '/data/deep/b.dat deep/b.dat']],
    ['a.dat', 'in/', ['/data/a.dat in/a.dat']],
    ['a.dat', 'start.dat', ['/data/a.dat start.dat']],
    ['[x].dat', undefined, ['/data/[x].dat [x].dat']],
    ['*.none', undefined, ['missing *.none']],
    ['nothing', undefined, ['missing nothing']],
  ])('%s as %s', async (source, name, expected) => {
    expect(await names(source, name)).toEqual(expected);
  });

  test.each(['../up', '/etc/passwd', 'a/../../b'])('no name leads out of the task: %s', async (name) => {
    await expect(names('a.dat', name)).rejects.toThrow("below the task's own directory");
  });

  test('two files cannot have one name', async () => {
    const base = temporaryDirectory({ 'a/x': '1', 'b/x': '2' });
    const inputs = ['a/x', 'b/x'].map((source) => ({ source: template(source), name: template('same'), base }));
    await expect(findInputs(inputs, {})).rejects.toThrow("would both be called 'same'");
  });
});
