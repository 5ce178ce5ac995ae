import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { stringify } from 'yaml';
import type { SchedulerKind, StagingKind } from '../../src/ground/protocol/site.ts';
import { clientOf } from '../support/api.ts';
import { type Running, type RunningServer, startServer } from '../support/running-server.ts';
import { jobClient } from '../support/site-agent.ts';
import { missingPlaces, openPlaces, type Place, type Places } from '../support/site-places.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

let pool: RunningServer;
let places: Places;
beforeAll(async () => {
  pool = await startServer(['--heartbeat', '2s', '--lease', '4s']);
  if (missingPlaces() === undefined) places = await openPlaces();
});
afterAll(async () => {
  await places?.close();
  await pool[Symbol.asyncDispose]();
});

/** `pilotage agent` as its own process, which can be killed and started anew. */
function agentFor(place: Place, server = pool) {
  const directory = mkdtempSync('/tmp/pilotage-agent-');
  const sites = path.join(directory, 'sites.yaml');
  writeFileSync(sites, stringify({ sites: [place.config] }));
  let running: Running | undefined;
  const agent = {
    start: () => {
      running = server.start(['agent', '--sites', sites, '--directory', directory], { env: { HOME: directory } });
      return running;
    },
    kill: async () => {
      running?.child.kill('SIGKILL');
      await running?.done;
    },
    /** What its journal says of the attempts that it holds. */
    phases: (): string[] =>
      readdirSync(directory)
        .map((server) => path.join(directory, server, 'jobs'))
        .filter((jobs) => existsSync(jobs))
        .flatMap((jobs) => readdirSync(jobs).map((name) => path.join(jobs, name)))
        .filter((file) => file.endsWith('.json'))
        .flatMap(phaseIn),
    stderr: () => running?.stderr() ?? '',
  };
  onTestFinished(async () => {
    await agent.kill();
    rmSync(directory, { recursive: true, force: true });
  });
  return agent;
}

/** It may be gone, or half gone, by now. */
function phaseIn(file: string): string[] {
  try {
    return [(JSON.parse(readFileSync(file, 'utf8')) as { phase: string }).phase];
  } catch {
    return [];
  }
}

/** Counts its starts where the test can see them. */
function countingCommand(count: string, seconds: number): string[] {
  return ['sh', '-c', `echo run >>${count}; cat in.txt >out.txt; sleep ${seconds}; echo ended >>${count}`];
}

const CASES: [SchedulerKind, StagingKind][] = [
  ['process', 'archive'],
  ['process', 'shared'],
  ['slurm', 'archive'],
  ['grid-engine', 'archive'],
];

describe.skipIf(missingPlaces() !== undefined).each(CASES)(
  'an agent that is killed, with %s and %s',
  (scheduler, staging) => {
    let place: Place;
    beforeAll(async () => {
      const why = missingPlaces(scheduler);
      if (why !== undefined) throw new Error(why);
      place = await places.place('ssh', scheduler, staging);
    });

    test('over and over, at any moment, runs every job once and loses none', async () => {
      const jobs = jobClient(clientOf(pool));
      const agent = agentFor(place);
      const isAlone = scheduler === 'process';
      const counted = isAlone ? '/tmp' : place.shared;
      const seen = (name: string): string =>
        isAlone ? (place.server?.seen(`/tmp/${name}`) as string) : path.join(place.shared, name);
      const here = temporaryDirectory({ 'in.txt': 'content' });
      if (staging === 'shared') writeFileSync(path.join(place.shared, 'in.txt'), 'content');
      const started = await Promise.all(
        [0, 0.2, 1, 2].map((seconds, at) =>
          jobs.run({
            site: place.config.name,
            command: countingCommand(`${counted}/count-${at}`, seconds),
            inputs: staging === 'shared' ? [] : [{ name: 'in.txt', file: path.join(here, 'in.txt') }],
            projectDirectory: staging === 'shared' ? place.shared : here,
            spec: { outputs: [{ pattern: 'out.txt' }] },
          }),
        ),
      );
      const phases = new Set<string>();
      const isOver = async (): Promise<boolean> =>
        (await Promise.all(started.map(({ number }) => jobs.get(number)))).every(
          ({ state }) => state === 'COMPLETED' || state === 'FAILED',
        );
      for (let round = 0; round < 40 && !(await isOver()); round += 1) {
        agent.start();
        // A start takes some 0.4 s: later and later moments of its work.
        const until = performance.now() + 350 + round * 45;
        while (performance.now() < until) {
          for (const phase of agent.phases()) phases.add(phase);
          await pause(5);
        }
        await agent.kill();
      }
      agent.start();
      for (const [at, { number }] of started.entries()) {
        const done = await jobs.ended(number, 120);
        expect([at, done.state, done.message]).toEqual([at, 'COMPLETED', null]);
        expect(readFileSync(seen(`count-${at}`), 'utf8')).toBe('run\nended\n');
        expect(done.entries.filter(({ kind }) => kind === 'process').length).toBe(1);
        rmSync(seen(`count-${at}`));
      }
      await waitUntil('everything is tidied up', () => agent.phases().length === 0, 60);
      const left = existsSync(place.jobs) ? readdirSync(place.jobs).filter((name) => /^pilotage-\d/.test(name)) : [];
      expect(left).toEqual([]);
      // It was killed at several of them, or this says nothing.
      expect(phases.size).toBeGreaterThan(2);
    });
  },
);

test.skipIf(missingPlaces() !== undefined)(
  'a server that is killed over and over, at any moment of its jobs, makes none run twice, and none is lost',
  async () => {
    const place = await places.place('ssh', 'process', 'archive');
    await using own = await startServer(['--heartbeat', '2s', '--lease', '4s']);
    const jobs = jobClient(clientOf(own));
    const agent = agentFor(place, own);
    agent.start();
    const here = temporaryDirectory({ 'in.txt': 'content' });
    const started = await Promise.all(
      [0, 0.2, 1, 2, 3].map((seconds, at) =>
        jobs.run({
          site: place.config.name,
          command: countingCommand(`/tmp/server-${at}`, seconds),
          inputs: [{ name: 'in.txt', file: path.join(here, 'in.txt') }],
          projectDirectory: here,
          spec: { outputs: [{ pattern: 'out.txt' }] },
        }),
      ),
    );
    const killedIn = new Set<string>();
    const isOver = async (): Promise<boolean> =>
      (await Promise.all(started.map(({ number }) => jobs.get(number)))).every(({ state }) => state === 'COMPLETED');
    for (let round = 0; round < 40 && !(await isOver()); round += 1) {
      // In phases that were not hit yet; then at later and later moments of what the agent does once the server is back. On a
      // busy machine it may take seconds to come so far.
      const until = performance.now() + (killedIn.size > 2 ? round * 23 : 10_000);
      const isNew = () => agent.phases().some((phase) => !killedIn.has(phase));
      await waitUntil('a moment to kill it', () => isNew() || performance.now() > until, 60);
      for (const phase of agent.phases()) killedIn.add(phase);
      await own.kill();
      await pause(100);
      await own.restart();
    }
    for (const [at, { number }] of started.entries()) {
      const done = await jobs.ended(number, 120);
      expect([at, done.state, done.attempt, done.message]).toEqual([at, 'COMPLETED', 1, null]);
      const count = place.server?.seen(`/tmp/server-${at}`) as string;
      expect(readFileSync(count, 'utf8')).toBe('run\nended\n');
      expect(done.entries.filter(({ kind }) => kind === 'process').length).toBe(1);
      const to = path.join(here, `results-${at}`);
      expect((await own.run(['results', done.task as string, '--to', to])).code).toBe(0);
      expect(readFileSync(path.join(to, 'out.txt'), 'utf8')).toBe('content');
    }
    await waitUntil('everything is tidied up', () => agent.phases().length === 0, 60);
    expect(killedIn.size).toBeGreaterThan(2);
  },
);

describe.skipIf(missingPlaces() !== undefined)('a job that cannot start says why, and nothing runs', () => {
  let place: Place;
  beforeAll(async () => {
    place = await places.place('ssh', 'process', 'archive');
  });
  const outcome = async (config: object, site: object = {}) => {
    const agent = agentFor({ ...place, config: { ...place.config, ...config } });
    agent.start();
    const jobs = jobClient(clientOf(pool));
    const job = await jobs.run({
      site: place.config.name,
      command: ['true'],
      spec: { site: { name: place.config.name, ...site } },
    });
    return jobs.ended(job.number, 60);
  };

  test.each([
    ['a host that is not there', { machines: ['nowhere.invalid'] }, {}, /nowhere\.invalid/],
    ['a wrong program directory', { programDirectory: '/opt/none' }, {}, /no program directory '\/opt\/none'/],
    [
      'a temporary directory that cannot be written',
      { temporaryDirectory: '/proc/none' },
      {},
      /no directory could be made below '\/proc\/none'/,
    ],
    ['a machine that the site does not have', {}, { machine: 'other' }, /has no machine 'other'/],
  ])('%s', async (_name, config, site, message) => {
    const done = await outcome(config, site);
    expect(done).toMatchObject({ state: 'FAILED', reason: 'start-failed' });
    expect(done.message).toMatch(message);
  });
});

describe.skipIf(missingPlaces() !== undefined)('a job whose', () => {
  let place: Place;
  beforeAll(async () => {
    place = await places.place('ssh', 'process', 'archive');
    mkdirSync(place.jobs, { recursive: true });
  });
  const running = async (command: string[], spec: object = {}) => {
    const agent = agentFor(place);
    agent.start();
    const jobs = jobClient(clientOf(pool));
    const job = await jobs.run({ site: place.config.name, command, spec });
    await jobs.until(job.number, 'to run', ({ phase }) => phase === 'running', 60);
    return { jobs, number: job.number };
  };

  test('directory vanishes ends failed, with the reason', async () => {
    const { jobs, number } = await running(['sleep', '5']);
    for (const name of readdirSync(place.jobs).filter((one) => /^pilotage-\d/.test(one)))
      rmSync(path.join(place.jobs, name), { recursive: true });
    const done = await jobs.ended(number, 120);
    expect(done.state).toBe('FAILED');
    expect(done.message).toMatch(/vanished while it ran/);
  });

  test('time is over is ended, with that reason', async () => {
    const { jobs, number } = await running(['sleep', '1000'], { timeLimitSeconds: 2 });
    expect(await jobs.ended(number, 90)).toMatchObject({ state: 'FAILED', reason: 'time-limit' });
  });
});
