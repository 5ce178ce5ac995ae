import { describe, expect, test } from 'vitest';
import { toSiteCommand } from '../../../src/worker/service/batch-script.ts';
import { planRun } from '../../../src/worker/service/plan-run.ts';
import { script, site } from '../../../src/worker/service/runners.ts';

/** Not ours: the shell's. */
const SHELLS_OWN = ['$', '{index}'].join('');

const slurm = (options: string | string[], text = '#!/bin/bash -e\ntrue\n') =>
  toSiteCommand({ scheduler: 'slurm', site: 'cluster', text, options }).command;
const gridEngine = (options: string, text = 'true\n') =>
  toSiteCommand({ scheduler: 'grid-engine', site: 'cluster', text, options }).command;

describe('options of a script', () => {
  test.each([
    ['--time=1:30:00 --mem=2G', { timeLimit: 5400, memory: 2 ** 31 }],
    ['-t 90 -c 4', { timeLimit: 5400, cpus: 4 }],
    ['--time 2-12', { timeLimit: 216_000 }],
    ['-t10:30 --mem=512', { timeLimit: 630, memory: 512 * 2 ** 20 }],
    ['--array=1-10:2%3 -J name', { array: '1-10:2' }],
  ])('sbatch: %s', (options, asked) => {
    expect(slurm(options)).toMatchObject({
      name: 'cluster',
      command: ['/bin/bash', '-e', 'pilotage-script.sh'],
      ...asked,
    });
  });
  test.each([
    ['-l h_rt=3600,h_vmem=1G -pe smp 8', { timeLimit: 3600, memory: 2 ** 30, cpus: 8 }],
    ['-l h_rt=1:00:00 -t 1-5 -N name -cwd', { timeLimit: 3600, array: '1-5' }],
  ])('qsub: %s', (options, asked) => {
    expect(gridEngine(options)).toMatchObject({ command: ['/bin/sh', 'pilotage-script.sh'], ...asked });
  });
  test('directives in the text count too, and options go before them', () => {
    const text = '#!/bin/sh\n#SBATCH --time=10\n#SBATCH --mem=1G\ntrue\n';
    expect(slurm('--time=20', text)).toMatchObject({ timeLimit: 1200, memory: 2 ** 30 });
    expect(gridEngine('', '#$ -pe smp 2\ntrue\n')).toMatchObject({ cpus: 2 });
  });
  test.each([
    ['--partition=long --qos high -n 4 --exclusive', ['--partition=long', '--qos high', '-n 4', '--exclusive']],
    ["--comment='two words' -C haswell --gpus=a100:2", ['"--comment=two words"', '-C haswell', '--gpus=a100:2']],
    ['-o out.txt -e err.txt -D /tmp --job-name=x -J y', []],
  ])('what sbatch knows and we have no word for goes to it as it is: %s', (options, others) => {
    expect(slurm(options).batch).toEqual({ scheduler: 'slurm', options: others });
  });
  test.each([
    ['-q long.q -P project -l arch=x,h_rt=60', ['-q long.q', '-P project', '-l arch=x']],
    ['-pe mpi 4 -tc 5 -cwd -V -j y -o out', ['-pe mpi 4', '-tc 5']],
    ['-hard -l scratch=2G -R y', ['-hard', '-l scratch=2G', '-R y']],
  ])('what qsub knows and we have no word for goes to it as it is: %s', (options, others) => {
    expect(gridEngine(options).batch).toEqual({ scheduler: 'grid-engine', options: others });
  });
  test.each([
    [['--comment=x" --account="theirs'], [`'--comment=x" --account="theirs'`]],
    [["--comment=it's here"], [`"--comment=it's here"`]],
    [['--comment=job#5'], ['"--comment=job#5"']],
  ])('what stands in an option stays in it: %j', (options, others) => {
    expect(slurm(options).batch?.options).toEqual(others);
  });
  test.each([
    [() => slurm([`--comment=a"b' c`]), 'cannot be put in quotes'],
    [() => slurm(['--comment=a b\\']), 'cannot be put in quotes'],
    [() => slurm('--time=soon'), "'soon' is no time of a batch system"],
    [() => slurm('-c many'), "needs a whole number, not 'many'"],
    [() => slurm('long'), "'long' is no option of a batch system"],
    [() => gridEngine('long.q'), "'long.q' is no option of a batch system"],
  ])('what is no option is refused: %#', (act, message) => {
    expect(act).toThrow(message);
  });
});

test('an array at a site is a job for each index, each with its own', () => {
  const run = planRun(
    site({
      name: 'c',
      command: ['echo', '{index}', SHELLS_OWN],
      array: '2-6:2',
      inputs: ['in/{index}'],
      outputs: ['{index}.out?'],
    }),
    '/jobs/x',
  );
  expect(run?.steps.map(({ to, spec }) => [to, spec.command?.[1], spec.outputs?.[0]?.pattern])).toEqual([
    ['2', '2', '2.out'],
    ['4', '4', '4.out'],
    ['6', '6', '6.out'],
  ]);
  expect(run?.steps.map(({ inputs }) => inputs)).toEqual([['in/2'], ['in/4'], ['in/6']]);
  expect(run?.steps[1]?.spec).toMatchObject({
    command: ['echo', '4', SHELLS_OWN],
    env: { PILOTAGE_ARRAY_INDEX: '4', SLURM_ARRAY_TASK_ID: '4', SGE_TASK_ID: '4' },
    site: { name: 'c', projectDirectory: '/jobs/x' },
  });
});

test('a script travels beside the inputs, and is never read by a shell on its way', () => {
  const run = planRun(script({ scheduler: 'slurm', site: 'c', text: 'echo "$(hostname)"\n' }), '/jobs/x');
  expect(run?.steps[0]?.files).toEqual([{ name: 'pilotage-script.sh', content: 'echo "$(hostname)"\n' }]);
  expect(run?.steps[0]?.spec.command).toEqual(['/bin/sh', 'pilotage-script.sh']);
});

test('more jobs at a site than can be looked after are refused', () => {
  expect(() => planRun(site({ name: 'c', command: ['true'], array: '1-2000' }), '/x')).toThrow(
    'use pool(…) with pilots',
  );
});
