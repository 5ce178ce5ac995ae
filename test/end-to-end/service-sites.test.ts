import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { routes } from '../../src/ground/protocol/routes.ts';
import { startAgentAs } from '../support/agent-as.ts';
import { adminToken, clientOf } from '../support/api.ts';
import { startGridEngine } from '../support/grid-engine.ts';
import { type RunningServer, startServer } from '../support/running-server.ts';
import { serviceHome } from '../support/service-home.ts';
import { startHostProcess } from '../support/service-process.ts';
import { missingPlaces, openPlaces, type Place, type Places, SITE_USER } from '../support/site-places.ts';
import { waitUntil } from '../support/wait-until.ts';

/** Scripts of services at real batch systems: a host as one process, an agent as an ordinary user's. */
const SYSTEMS = ['slurm', 'grid-engine'] as const;

describe.each(SYSTEMS)('%s', (scheduler) => {
  if (missingPlaces(scheduler) !== undefined) return;
  let server: RunningServer;
  let places: Places;
  let place: Place;
  let agent: ReturnType<typeof startAgentAs>;
  const directories: string[] = [];
  const directory = (): string => {
    const made = mkdtempSync(path.join(tmpdir(), 'pilotage-agent-'));
    execFileSync('chown', [`${SITE_USER}:`, made]);
    directories.push(made);
    return made;
  };
  beforeAll(async () => {
    server = await startServer();
    places = await openPlaces();
    place = await places.place('local', scheduler, 'archive');
    agent = startAgentAs(SITE_USER, {
      serverUrl: server.url(),
      token: adminToken(server),
      directory: directory(),
      workerFiles: directory(),
      configs: [{ ...place.config, name: 'cluster' }],
    });
  });
  afterAll(async () => {
    await agent?.stop();
    await places?.close();
    await server?.[Symbol.asyncDispose]();
    for (const made of directories) rmSync(made, { recursive: true, force: true });
  });
  let numbers: string[] = [];
  afterEach(async () => {
    // What a test that failed left in the queue keeps the next one waiting.
    const body = { wish: 'cancel' as const, jobs: numbers };
    if (numbers.length > 0) await clientOf(server).call(routes.wishJobs, { params: { project: 'default' }, body });
    numbers = [];
  });

  const service = async (name: string, run: string): Promise<string> => {
    await startHostProcess(
      server,
      serviceHome(`import { writeFileSync } from 'node:fs';
import { defineService, script, Type } from 'pilotage/service';
export default defineService({ name: '${name}', parameters: Type.Object({}), preprocess() { writeFileSync('in', 'input'); }, run: () => ${run} });`),
    );
    const params = { project: 'default', service: name };
    const { number } = await clientOf(server).call(routes.createServiceJob, { params, body: {} });
    numbers.push(number);
    return number;
  };
  const show = (number: string) => clientOf(server).call(routes.job, { params: { project: 'default', number } });
  const until = (number: string, state: string) =>
    waitUntil(
      `job ${number} is ${state}`,
      async () => {
        const job = await show(number);
        if (job.state === 'FAILED' && state !== 'FAILED') throw new Error(JSON.stringify(job.serviceJob?.failure));
        return job.state === state && job.serviceJob?.intent === null && job;
      },
      120,
    );
  const batchJobs = async () => {
    const { jobs } = await clientOf(server).call(routes.jobs, { params: { project: 'default' } });
    return jobs.filter(({ site, batchId, state }) => site === 'cluster' && batchId !== null && state === 'RUNNING');
  };

  const special =
    scheduler === 'slurm'
      ? '--partition=short --comment="two words" --time=2'
      : '-l h_rt=120 -ac purpose=test -q all.q';
  const told =
    scheduler === 'slurm'
      ? 'echo $SLURM_JOB_PARTITION; scontrol show job $SLURM_JOB_ID | grep -o "Comment=.*\\|TimeLimit=[0-9:]*"'
      : 'echo $QUEUE; qstat -j $JOB_ID | grep -o "purpose=test\\|h_rt=120"';

  test('a script runs with its options: those we have a word for, and those that only the batch system knows', async () => {
    const text = `#!/bin/sh\ncat in > out; (${told}) >> out\n`;
    const number = await service(
      'options',
      `script(${JSON.stringify({ scheduler, site: 'cluster', text, options: special, outputs: ['out'] })})`,
    );
    const job = await until(number, 'COMPLETED');
    const lines = readFileSync(path.join(job.serviceJob?.directory ?? '', 'out'), 'utf8')
      .trim()
      .split('\n')
      .sort();
    const wanted =
      scheduler === 'slurm'
        ? ['inputshort', 'Comment=two words', 'TimeLimit=00:02:00']
        : ['inputall.q', 'h_rt=120', 'purpose=test'];
    expect(lines).toEqual(wanted.sort());
  });

  if (scheduler === 'slurm')
    test('a job that the batch system will not start as it is says so where people look', async () => {
      const text = '#!/bin/sh\ntrue\n';
      const number = await service(
        'hopeless',
        `script(${JSON.stringify({ scheduler, site: 'cluster', text, options: '--partition=short --time=1-0' })})`,
      );
      await waitUntil(
        'its progress tells',
        async () => (await show(number)).progress?.message?.includes('PartitionTimeLimit: it will not start as it is'),
        60,
      );
    });

  test('an array with a step is a batch job for each index; the outputs come back by index', async () => {
    const variable = scheduler === 'slurm' ? 'SLURM_ARRAY_TASK_ID' : 'SGE_TASK_ID';
    const options = scheduler === 'slurm' ? '--array=2-6:2' : '-t 2-6:2';
    const text = `#!/bin/sh\necho $${variable} $PILOTAGE_ARRAY_INDEX > out\n`;
    const number = await service(
      'array',
      `script(${JSON.stringify({ scheduler, site: 'cluster', text, options, outputs: ['out'] })})`,
    );
    const job = await until(number, 'COMPLETED');
    const read = (index: number) =>
      readFileSync(path.join(job.serviceJob?.directory ?? '', String(index), 'out'), 'utf8');
    expect([2, 4, 6].map(read)).toEqual(['2 2\n', '4 4\n', '6 6\n']);
  });

  test('the last command of a script that fails is a failure; one before it is none', async () => {
    const of = (text: string) => `script(${JSON.stringify({ scheduler, site: 'cluster', text })})`;
    const good = await service('good-end', of('#!/bin/sh\nfalse\ntrue\n'));
    const bad = await service('bad-end', of('#!/bin/sh\ntrue\nfalse\n'));
    await until(good, 'COMPLETED');
    const { serviceJob } = await until(bad, 'FAILED');
    expect(serviceJob?.failure?.message).toContain('exit code 1');
  });

  test('a script for the other batch system is refused, and the failure says what to do', async () => {
    const other = scheduler === 'slurm' ? 'grid-engine' : 'slurm';
    const number = await service(
      'other-system',
      `script(${JSON.stringify({ scheduler: other, site: 'cluster', text: '#!/bin/sh\ntrue\n' })})`,
    );
    const { serviceJob } = await until(number, 'FAILED');
    expect(serviceJob?.failure?.message).toContain(
      `this is a job for ${other}, and the site 'cluster' has ${scheduler}`,
    );
  });

  test('a service job that is cancelled while it runs is cancelled at the batch system', async () => {
    const number = await service(
      'cancelled',
      `script(${JSON.stringify({ scheduler, site: 'cluster', text: '#!/bin/sh\nsleep 600\n' })})`,
    );
    const [running] = await waitUntil(
      'it runs there',
      async () => {
        const jobs = await batchJobs();
        return jobs.some(({ phase }) => phase === 'running') && jobs;
      },
      120,
    );
    await clientOf(server).call(routes.wishJobs, {
      params: { project: 'default' },
      body: { wish: 'cancel', jobs: [number] },
    });
    await until(number, 'CANCELLED');
    const id = running?.batchId?.split(';')[0] ?? '';
    await waitUntil('the batch system has ended it', () => !isQueued(scheduler, id), 60);
  });

  // The shared Slurm serves other tests, and is not paused.
  if (scheduler === 'grid-engine')
    test('a batch system that does not answer for a while fails nothing', async () => {
      const cluster = await startGridEngine();
      const text =
        '#!/bin/sh\nwhile [ ! -e /tmp/pilotage-go-$PILOTAGE_TASK_ID ]; do sleep 0.2; done; echo done > out\n';
      const number = await service(
        'hiccup',
        `script(${JSON.stringify({ scheduler, site: 'cluster', text, outputs: ['out'] })})`,
      );
      const [running] = await waitUntil(
        'it runs there',
        async () => {
          const jobs = await batchJobs();
          return jobs.some(({ phase }) => phase === 'running') && jobs;
        },
        120,
      );
      cluster.pause();
      try {
        await waitUntil(
          'the agent has seen that nobody answers',
          async () => {
            const [job] = await batchJobs();
            return job?.detail?.includes('the job goes on, looking again');
          },
          120,
        );
        execFileSync('touch', [`/tmp/pilotage-go-${running?.task}`]);
      } finally {
        cluster.resume();
      }
      await until(number, 'COMPLETED');
      rmSync(`/tmp/pilotage-go-${running?.task}`, { force: true });
    });
});

function isQueued(scheduler: (typeof SYSTEMS)[number], id: string): boolean {
  try {
    const [program, ...args] =
      scheduler === 'slurm' ? ['squeue', '-h', '-t', 'RUNNING,PENDING', '-j', id] : ['qstat', '-j', id];
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim() !== '';
  } catch {
    return false;
  }
}
