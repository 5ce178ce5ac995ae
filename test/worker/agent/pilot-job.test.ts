import { expect, test } from 'vitest';
import { pilotCommand, pilotOptions } from '../../../src/worker/agent/pilot/pilot-job.ts';

const PILOT = { slots: 4, wallTimeSeconds: 7200, untilIdleSeconds: 60, workerSeconds: 7140.5, exclude: [] };
const THERE = { program: '/scratch/pw/pilotage-worker', serverUrl: 'https://server:9990', fingerprint: 'ab' };

test('a pilot is a worker that names its token by a file, and ends before its batch job', () => {
  const pilot = { ...PILOT, memory: 2 ** 30, labels: { disk: 'fast' }, projects: ['a', 'b'] };
  expect(pilotCommand('pilotage-12.1-1', '/scratch/p', pilot, THERE)).toEqual([
    '/scratch/pw/pilotage-worker',
    'worker',
    '--server=https://server:9990',
    '--token-file=/scratch/p/token',
    '--fingerprint=ab',
    '--name=pilotage-12.1-1',
    '--slots=4',
    '--memory=1073741824',
    '--wall-time=7140s',
    '--until-idle=60s',
    '--label=disk=fast',
    '--project=a',
    '--project=b',
  ]);
});

test.each([
  ['slurm', ['-p long', '--exclude=node1,node-2.x']],
  ['grid-engine', ['-p long', '-l h=!(node1|node-2.x)']],
  ['process', ['-p long']],
] as const)('nodes to be left out are told to %s, names that are none are not', (scheduler, options) => {
  const exclude = ['node1', 'node-2.x', '$(touch hacked)', 'a b', '-x', ''];
  expect(pilotOptions(scheduler, { ...PILOT, queueOptions: ['-p long'], exclude })).toEqual(options);
});
