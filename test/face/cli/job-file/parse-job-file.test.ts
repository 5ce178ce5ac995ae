import { describe, expect, test } from 'vitest';
import { parseJobFile } from '../../../../src/face/cli/job-file/parse-job-file.ts';
import type { JobStep } from '../../../../src/face/cli/submission/job-step.ts';

const parse = (text: string) =>
  parseJobFile(text, { fileName: 'water.yaml', directory: '/data', now: new Date('2026-11-21T12:00:00Z') });

function onlyStep(text: string): JobStep {
  const { steps } = parse(text);
  expect(steps).toHaveLength(1);
  return steps[0]!;
}

async function payloadsOf(step: JobStep): Promise<unknown[]> {
  if (step.tasks?.kind !== 'items') throw new Error('no items');
  const payloads: unknown[] = [];
  for await (const payload of step.tasks.payloads()) payloads.push(payload);
  return payloads;
}

describe('what a job file says', () => {
  test('a list is a command as it stands, with numbers as they were written', () => {
    expect(onlyStep('command: [prog, 1.50, true, "a b"]').command?.map(({ text }) => text)).toEqual([
      'prog',
      '1.50',
      'true',
      'a b',
    ]);
  });

  test('a single text is a line for the shell', () => {
    expect(onlyStep('command: sort in.txt | uniq > out.txt').command?.map(({ text }) => text)).toEqual([
      'sh',
      '-c',
      'sort in.txt | uniq > out.txt',
    ]);
  });

  test('limits, resources and retries are read with their units', () => {
    const step = onlyStep(`
command: [x]
resources: { cpus: 4, memory: 2GiB, gpus: 1, named: { license: 2 }, labels: { cpu: zen4 } }
timeLimit: 1h30m
timeRequest: 2h
memoryLimit: 3GiB
retries: 2
backoff: 10s
lostLimit: 5
priority: -3
notBefore: 2h
after: [12, 13.10]
`);
    expect(step).toMatchObject({
      resources: { cpus: 4, memory: 2 * 1024 ** 3, gpus: 1, named: { license: 2 }, labels: { cpu: 'zen4' } },
      timeLimitSeconds: 5400,
      timeRequestSeconds: 7200,
      memoryLimit: 3 * 1024 ** 3,
      retry: { limit: 2, backoffSeconds: 10, lostLimit: 5 },
      priority: -3,
      notBefore: '2026-11-21T14:00:00.000Z',
      after: [{ submission: 12 }, { submission: 13, index: 10 }],
    });
  });

  test('inputs may get another name, outputs may be missing', () => {
    const step = onlyStep(
      'command: [x]\ninputs: [a.dat, { path: ../b.dat, as: b/ }]\noutputs: [c, "d?", { path: e, optional: true }]',
    );
    expect(step.inputs?.map(({ source, name, base }) => [source.text, name?.text, base])).toEqual([
      ['a.dat', undefined, '/data'],
      ['../b.dat', 'b/', '/data'],
    ]);
    expect(step.outputs?.map(({ pattern, optional }) => [pattern.text, optional])).toEqual([
      ['c', false],
      ['d', true],
      ['e', true],
    ]);
  });

  test('each goes through every combination, the last name fastest', async () => {
    const step = onlyStep('command: [x]\neach: { t: [1.5, 2], seed: [a, b], fixed: 7 }');
    expect(await payloadsOf(step)).toEqual([
      { t: 1.5, seed: 'a', fixed: 7 },
      { t: 1.5, seed: 'b', fixed: 7 },
      { t: 2, seed: 'a', fixed: 7 },
      { t: 2, seed: 'b', fixed: 7 },
    ]);
  });

  test.each([
    ['{ from: 0, to: 1, count: 5 }', [0, 0.25, 0.5, 0.75, 1]],
    ['{ from: 5, to: 9, count: 1 }', [5]],
    ['{ from: 0, to: 0.5, step: 0.1 }', [0, 0.1, 0.2, 0.3, 0.4, 0.5]],
    ['{ from: 3, to: 0, step: -2 }', [3, 1]],
    ['{ from: 280, to: 360, count: 5 }', [280, 300, 320, 340, 360]],
  ])('the range %s is %j', async (range, expected) => {
    const payloads = await payloadsOf(onlyStep(`command: [x]\neach: { t: ${range} }`));
    expect(payloads).toEqual(expected.map((t) => ({ t })));
  });

  test('items are payloads of any kind', async () => {
    const step = onlyStep('command: [x]\nitems: [{ a: 1, deep: { b: [2] } }, word, 3]');
    expect(await payloadsOf(step)).toEqual([{ a: 1, deep: { b: [2] } }, 'word', 3]);
  });

  test.each([
    ['"1-100"', { first: 1, last: 100 }],
    ['7', { first: 1, last: 7 }],
    ['0-90:10', { first: 0, last: 90, step: 10 }],
  ])('array: %s', (text, range) => {
    expect(onlyStep(`command: [x]\narray: ${text}`).tasks).toMatchObject({ kind: 'array', range });
  });

  test('a payload needs no command: then it is for claimants that know what to do with it', () => {
    expect(onlyStep('items: [1, 2]').command).toBeUndefined();
  });
});

describe('steps', () => {
  const file = `
name: study
project: water
env: { A: 1, B: 2 }
resources: { cpus: 2, memory: 1GiB }
retries: 1
steps:
  collect: { command: [collect], after: [prepare, run], env: { B: 3 } }
  run: { command: [run], array: "1-3", after: prepare, resources: { cpus: 8 } }
  prepare: { command: [prepare] }
`;

  test('what comes first is sent first, whatever the order in the file', () => {
    const { project, steps } = parse(file);
    expect(project).toBe('water');
    expect(steps.map(({ name, after }) => [name, after])).toEqual([
      ['prepare', undefined],
      ['run', [{ step: 'prepare' }]],
      ['collect', [{ step: 'prepare' }, { step: 'run' }]],
    ]);
  });

  test('they take from the top what they do not say; environment and resources name by name', () => {
    const [, run, collect] = parse(file).steps;
    expect(run?.resources).toEqual({ cpus: 8, memory: 1024 ** 3 });
    expect(run?.retry).toEqual({ limit: 1 });
    expect(Object.entries(collect?.env ?? {}).map(([key, { text }]) => [key, text])).toEqual([
      ['A', '1'],
      ['B', '3'],
    ]);
  });

  test('they may be a list, where only those need a name that others come after', () => {
    const { steps } = parse(
      'steps:\n  - { command: [a] }\n  - { name: b, command: [b] }\n  - { command: [c], after: b }',
    );
    expect(steps.map(({ name }) => name)).toEqual([undefined, 'b', undefined]);
  });
});

describe('data', () => {
  test('outputs of steps and submissions come as inputs beside files', () => {
    const { steps } = parse(`
steps:
  b:
    command: x
    inputs: [own.txt, { from: a, path: "*.dat", as: in/ }, { from: "a.{index}" }, { from: 12 }, { from: 12.3, as: y }, { path: big, writable: true }]
  a: { command: x }
`);
    expect(steps.map(({ name }) => name)).toEqual(['a', 'b']);
    const text = (template?: { text: string }) => template?.text;
    expect(steps[1]?.inputs?.map(({ source, writable }) => [source.text, writable])).toEqual([
      ['own.txt', undefined],
      ['big', true],
    ]);
    expect(
      steps[1]?.from?.map(({ step, submission, index, output, name }) => [
        step ?? submission,
        text(index),
        text(output),
        text(name),
      ]),
    ).toEqual([
      ['a', undefined, '*.dat', 'in/'],
      ['a', '{index}', undefined, undefined],
      [12, undefined, undefined, undefined],
      [12, '3', undefined, 'y'],
    ]);
  });

  test('checkpoints, their interval and reuse', () => {
    const step = onlyStep('command: x\ncheckpoint: state.cpt\ncheckpointInterval: 15m\nreuse: true');
    expect(step.checkpoint?.patterns?.map(({ text }) => text)).toEqual(['state.cpt']);
    expect(step.checkpoint?.intervalSeconds).toBe(900);
    expect(step.reuse).toBe(true);
    expect(() => parse('command: x\ncheckpoint: a\ncheckpointInterval: 10ms')).toThrow(
      /water.yaml:3:21: .*a second at least/,
    );
    expect(() => parse('command: x\ninputs: [{ from: relax }]')).toThrow(
      "there is no step 'relax' to take outputs from",
    );
    expect(() => parse('command: x\ninputs: [{ as: y }]')).toThrow("an input has a 'path'");
  });
});

describe('what is wrong is told with its place', () => {
  test.each([
    ['an unknown key', 'name: x\nresult: [a]\ncomand: [b]', "water.yaml:2:1: unknown key 'result': known are"],
    ['a mistyped key', 'name: x\ncomand: [b]', "water.yaml:2:1: unknown key 'comand': did you mean 'command'?"],
    [
      'a mistyped key of resources',
      'command: [x]\nresources:\n  cpu: 1',
      "water.yaml:3:3: unknown key 'cpu': did you mean 'cpus'?",
    ],
    [
      'a mistyped key in a step',
      'steps:\n  a:\n    commnd: [x]',
      "water.yaml:3:5: unknown key 'commnd': did you mean 'command'?",
    ],
    ['a key that is there twice', 'command: [a]\nname: b\ncommand: [c]', 'water.yaml:3:1: this key is there twice'],
    [
      'a wrong type',
      'command: [x]\nretries: many',
      "water.yaml:2:10: expected a whole number, 0 or more, but here is the text 'many'",
    ],
    ['a list where a text belongs', 'command: [x]\nname: [a]', 'water.yaml:2:7: expected a text, but here is a list'],
    [
      'nothing where something belongs',
      'command: [x]\ntimeLimit:',
      'water.yaml:2:11: expected a text, but here is nothing',
    ],
    ['a bad duration', 'command: [x]\ntimeLimit: soon', "water.yaml:2:12: 'soon' is not a duration"],
    ['a bad size', 'command: [x]\nmemoryLimit: 2 elephants', "water.yaml:2:14: '2 elephants' is not a size"],
    ['a bad time', 'command: [x]\nnotBefore: noon', "water.yaml:2:12: 'noon' is not a time"],
    ['broken YAML', 'command: [a', 'water.yaml:1:12: '],
    ['a tab', 'env:\n\tA: 1', 'water.yaml:2:1: a tab: YAML is indented with spaces'],
    ['two documents', 'command: [a]\n---\ncommand: [b]', 'water.yaml:2:1: a second document begins here'],
    ['an empty file', '', 'water.yaml:1:1: the file is empty'],
    ['a list', '- a\n- b', 'water.yaml:1:1: expected the keys of a job'],
    ['binary data', 'a\0b', 'water.yaml:1:1: this is not text but binary data'],
    ['no command', 'name: x', "water.yaml:1:1: there is no 'command'"],
    ['an empty command', 'command: []', 'water.yaml:1:10: the command is empty'],
    ['an empty each', 'command: [x]\neach: { t: [1], s: [] }', "water.yaml:2:20: 's' has no values"],
    ['an each of nothing', 'command: [x]\neach: {}', 'water.yaml:2:7: it names nothing'],
    [
      'a range with both',
      'command: [x]\neach: { t: { from: 1, to: 2, count: 2, step: 1 } }',
      "water.yaml:2:12: a range has either 'count' or 'step'",
    ],
    [
      'a range that never ends',
      'command: [x]\neach: { t: { from: 1, to: 2, step: 0 } }',
      'water.yaml:2:12: no step of 0 leads from 1 to 2',
    ],
    [
      'a range of rubbish',
      'command: [x]\neach: { t: { from: 1, too: 2, count: 3 } }',
      "water.yaml:2:23: unknown key 'too': did you mean 'to'?",
    ],
    [
      'items and array',
      'command: [x]\nitems: [1]\narray: 1-3',
      "water.yaml:3:1: 'array' and 'items' both say which tasks there are",
    ],
    ['no items', 'command: [x]\nitems: []', 'water.yaml:2:8: the list is empty'],
    [
      'an unknown step',
      'steps:\n  a: { command: x, after: b }',
      "water.yaml:2:27: there is no step 'b' to come after; the steps are a",
    ],
    [
      'a step where there are none',
      'command: x\nafter: a',
      "water.yaml:2:8: there is no step 'a' to come after, for this file has no steps",
    ],
    [
      'two steps of one name',
      'steps:\n  - { name: a, command: x }\n  - { name: a, command: y }',
      "water.yaml:3:5: a second step is called 'a'",
    ],
    ['no steps', 'steps: []', 'water.yaml:1:8: there is no step in it'],
    ['an alias of nothing', 'command: [x]\nenv: *base', "water.yaml:2:6: the alias '*base' has no anchor"],
    ['a tag', 'command: [!!binary aGk=]', 'water.yaml:1:20: this kind of YAML is not understood here'],
    ['an input without a path', 'command: [x]\ninputs: [{ as: y }]', "water.yaml:2:10: an input has a 'path'"],
  ])('%s', (_what, text, message) => {
    expect(() => parse(text)).toThrow(message);
  });

  test('a cycle names its steps', () => {
    const text = 'steps:\n  a: { command: x, after: b }\n  b: { command: x, after: c }\n  c: { command: x, after: a }';
    expect(() => parse(text)).toThrow(
      expect.objectContaining({
        code: 'dependency-cycle',
        message: expect.stringMatching(/^water\.yaml:\d:3: these steps wait for each other: '.' -> '.' -> '.' -> '.'$/),
      }),
    );
  });

  test('a step that waits for itself is a cycle too', () => {
    expect(() => parse('steps:\n  a: { command: x, after: a }')).toThrow("these steps wait for each other: 'a' -> 'a'");
  });

  test.each([
    ['array: 0-10000000'],
    ['each: { a: { from: 1, to: 10000, count: 10000 }, b: { from: 1, to: 1001, count: 1001 } }'],
    ['each: { a: { from: 1, to: 2, count: 99999999999 } }'],
  ])('more tasks than a submission takes: %s', (text) => {
    expect(() => parse(`command: [x]\n${text}`)).toThrow(expect.objectContaining({ code: 'array-too-large' }));
  });

  test.each([
    ['lists', '['.repeat(50_000)],
    ['closed lists', `command: ${'['.repeat(50_000)}${']'.repeat(50_000)}`],
    ['maps', `items: ${'[{a: '.repeat(100)}1${'}]'.repeat(100)}`],
  ])('%s that nest too deeply', (_what, text) => {
    expect(() => parse(text)).toThrow('it nests too deeply');
  });

  test('aliases that unfold into too much cost nothing', () => {
    const levels = Array.from(
      { length: 12 },
      (_, at) => `  l${at + 1}: &l${at + 1} [${Array(10).fill(`*l${at}`).join(', ')}]`,
    );
    const text = `command: [x]\nitems:\n- l0: &l0 [lol]\n${levels.join('\n')}\n`;
    expect(() => parse(text)).toThrow('unfold into too much');
  });

  test('an alias or two are welcome', () => {
    const step = onlyStep('command: [x]\nitems:\n- &a { t: 1 }\n- *a');
    expect(step.tasks).toMatchObject({ count: 2 });
  });
});
