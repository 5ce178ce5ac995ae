import { expect, test } from 'vitest';
import { describeJob, jobTable, processTable } from '../../../../src/face/cli/jobs/describe-job-view.ts';
import type { JobDetail } from '../../../../src/ground/protocol/job.ts';

const NOW = new Date('2026-11-21T12:00:00Z');
const JOB: JobDetail = {
  number: '7',
  uid: 'u',
  project: 'default',
  name: null,
  owner: 'ada',
  state: 'PREPROCESSING',
  site: 'hall',
  machine: 'hall1',
  batchId: null,
  phase: 'login',
  detail: null,
  progress: null,
  task: '7.1',
  attempt: 1,
  exitCode: null,
  reason: null,
  message: null,
  command: ['true'],
  createdAt: '2026-11-21T11:59:00Z',
  startedAt: null,
  finishedAt: null,
  entries: [],
  jobs: [],
  late: [],
  service: null,
  serviceJob: null,
};

test('a long remark does not make the list of jobs unreadable, and is shown whole for one job', () => {
  const detail = 'the host key is not known. '.repeat(20).trim();
  const lines = jobTable([{ ...JOB, detail }], NOW).split('\n');
  expect(lines[1]).toMatch(/not known.*…$/);
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(200);
  expect(describeJob({ ...JOB, detail }, NOW)).toContain(detail);
});

test('why a job does not go on is shown with it', () => {
  expect(describeJob(JOB, NOW, 'no agent is there')).toMatch(/^why +no agent is there$/m);
  expect(describeJob(JOB, NOW)).not.toMatch(/^why/m);
});

const OF_SERVICE: JobDetail = {
  ...JOB,
  site: null,
  machine: null,
  task: null,
  phase: null,
  service: 'fit',
  serviceJob: {
    contact: null,
    directory: '/jobs/job-7',
    intent: null,
    wish: null,
    run: 1,
    parameters: {},
    metadata: {},
    times: {},
    waitsFor: [],
    dueAt: null,
    runner: {
      steps: [
        { submission: 12, to: '.', isArray: false },
        { submission: 13, to: '.', isArray: false, job: '8' },
      ],
    },
    failure: { hook: 'run', message: 'oh no', stack: 'Error: oh no\n    at run (service.ts:3:1)' },
    link: 'https://compute.example.org/jobs/default/7/secret',
    results: null,
  },
};

test('a job of a service is shown with its link, what was submitted for it, and a stack in lines', () => {
  const shown = describeJob(OF_SERVICE, NOW);
  expect(shown).toMatch(/^link +https:\/\/compute\.example\.org\/jobs\/default\/7\/secret$/m);
  expect(shown).toMatch(/^run as +tasks of 12: 'pilotage tasks 12'.*\n +job 8: 'pilotage job show 8'$/m);
  expect(shown).toMatch(/^failure +in 'run': Error: oh no\n {16}at run \(service\.ts:3:1\)$/m);
});

test('a list says where jobs are: at sites, of services, or both', () => {
  const head = (...jobs: JobDetail[]) => jobTable(jobs, NOW).split('\n')[0];
  expect(head(JOB)).toMatch(/STATE +SITE +BATCH ID/);
  expect(head(OF_SERVICE)).toMatch(/STATE +SERVICE +STARTED/);
  expect(head(JOB, OF_SERVICE)).toMatch(/SITE OR SERVICE +BATCH ID/);
});

test('where no agent looked at the processes, it is said where to ask further', () => {
  const job = {
    number: '7',
    project: 'default',
    site: 'hall',
    machine: 'hall1',
    batchId: '1',
    phase: 'running' as const,
  };
  expect(processTable([{ ...job, at: null, processes: [] }])).toContain("'pilotage job show 7'");
});
