import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import type { PilotsView } from '../../src/ground/protocol/pilot.ts';
import { routes } from '../../src/ground/protocol/routes.ts';
import { makeWorkerFile } from '../../src/main/worker-file/make-worker-file.ts';
import { clientOf } from '../support/api.ts';
import { run } from '../support/daemon-engine.ts';
import { type Running, type RunningServer, startServer } from '../support/running-server.ts';
import { missingPlaces, openPlaces, type Place, type Places } from '../support/site-places.ts';
import { waitUntil } from '../support/wait-until.ts';

const MOST = 2;
const ROUNDS = 24;
/** Of tasks, one every so many rounds: later ones come when the pilots of the first have left. */
const WAVES = 4;
const WAVE = 4;

describe.skipIf(missingPlaces('slurm') !== undefined)('pilots of an agent that is killed', () => {
  let pool: RunningServer;
  let places: Places;
  let place: Place;
  const directory = mkdtempSync('/tmp/pilotage-agent-');
  let agent: Running | undefined;

  beforeAll(async () => {
    // Workers hold tasks by leases: a busy machine must not look like a dead pilot.
    pool = await startServer(['--heartbeat', '2s', '--lease', '60s']);
    places = await openPlaces();
    place = await places.place('ssh', 'slurm', 'archive');
    writeFileSync(path.join(directory, 'sites.yaml'), stringify({ sites: [place.config] }));
    // It takes longer than an agent lives here.
    await makeWorkerFile(path.join(directory, 'worker-files'));
  });
  afterAll(async () => {
    await kill();
    await places?.close();
    await pool?.[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  const start = (): void => {
    const flags = ['--sites', path.join(directory, 'sites.yaml'), '--directory', directory];
    agent = pool.start(['agent', ...flags], { env: { HOME: directory } });
  };
  const kill = async (): Promise<void> => {
    agent?.child.kill('SIGKILL');
    await agent?.done;
  };
  const client = () => clientOf(pool);
  const view = async (): Promise<PilotsView> =>
    (await client().call(routes.pilots)).find(({ site }) => site === place.config.name) as PilotsView;
  const submit = async (wave: number): Promise<number> => {
    const count = path.join(place.shared, `count-${wave}`);
    const spec = { command: ['sh', '-c', `echo run >>${count}-{index}; sleep 0.7; echo ended >>${count}-{index}`] };
    const { submissions } = await client().call(routes.submit, {
      body: { project: 'default', requestId: randomUUID(), steps: [{ spec, array: { first: 1, last: WAVE } }] },
    });
    return submissions[0]?.id as number;
  };

  const ended = (id: number, look: () => void) =>
    waitUntil(
      `submission ${id} to end`,
      async () => {
        look();
        const { counts } = await client().call(routes.submission, { params: { id } });
        return counts.waiting + counts.queued + counts.running === 0 ? counts : undefined;
      },
      60,
    );

  test('over and over, at any moment: never too many, every task runs once, nothing is left', async () => {
    await client().call(routes.setPilots, {
      params: { site: place.config.name },
      // With memory of its own: 100 MB a cpu, which this Slurm gives, are not enough for a worker.
      body: { max: MOST, slots: 1, memory: 128 * 1024 ** 2, wallTimeSeconds: 600, untilIdleSeconds: 1 },
    });
    const submissions: number[] = [];
    const phases = new Set<string>();
    const seen = watchQueue(place);
    for (let round = 0; round < ROUNDS; round += 1) {
      if (round % Math.ceil(ROUNDS / WAVES) === 0) submissions.push(await submit(submissions.length));
      start();
      // A start takes some 0.4 s, and its look at the worker file as long: later and later moments of its work.
      const until = performance.now() + 400 + round * 60;
      while (performance.now() < until) {
        for (const phase of phasesIn(directory)) phases.add(phase);
        seen.look();
        await pause(10);
      }
      await kill();
    }
    start();
    for (const id of submissions) expect(await ended(id, seen.look)).toMatchObject({ succeeded: WAVE });
    for (let wave = 0; wave < submissions.length; wave += 1)
      for (let index = 1; index <= WAVE; index += 1)
        expect(readFileSync(path.join(place.shared, `count-${wave}-${index}`), 'utf8')).toBe('run\nended\n');

    await waitUntil('the pilots to leave', async () => (await view()).pilots.length === 0, 90);
    await waitUntil('everything is tidied up', () => phasesIn(directory).length === 0, 60);
    expect(await view()).toMatchObject({ endedToday: { failed: 0 }, reasons: [], excludedNodes: [] });
    expect(seen.most()).not.toEqual([]);
    expect(seen.most().slice(MOST), JSON.stringify(seen.most())).toEqual([]);
    // No pilot was submitted a second time.
    expect([...seen.idsByName().values()].filter((ids) => ids.size > 1)).toEqual([]);
    expect(queueOf(place)).toEqual([]);
    // It was killed at several of them, or this says nothing.
    expect(phases.size).toBeGreaterThan(2);
    const [own = ''] = readdirSync(place.jobs);
    expect(readdirSync(place.jobs)).toEqual([expect.stringMatching(/^pilotage-worker-/)]);
    // What was cut off on its way is taken for garbage when it has not grown for minutes.
    const worker = path.join(place.jobs, own);
    const longAgo = new Date(Date.now() - 3_600_000);
    for (const name of readdirSync(worker))
      if (name.endsWith('.part')) utimesSync(path.join(worker, name), longAgo, longAgo);
    expect(await ended(await submit(WAVES), seen.look)).toMatchObject({ succeeded: WAVE });
    expect(readdirSync(worker).sort()).toEqual(['pilotage-worker', 'pilotage-worker.d']);
  });
});

/** What the agent's journal says of the attempts that it holds; a file may be gone, or half gone, by now. */
function phasesIn(directory: string): string[] {
  return readdirSync(directory)
    .map((server) => path.join(directory, server, 'jobs'))
    .filter((jobs) => existsSync(jobs))
    .flatMap((jobs) => readdirSync(jobs).map((name) => path.join(jobs, name)))
    .filter((file) => file.endsWith('.json'))
    .flatMap((file) => {
      try {
        return [(JSON.parse(readFileSync(file, 'utf8')) as { phase: string }).phase];
      } catch {
        return [];
      }
    });
}

/** Batch jobs of our pilots that wait or run: id, name and state. Others may use the same Slurm. */
function queueOf({ jobs }: Place): string[][] {
  const lines = run('squeue', ['-h', '-t', 'PENDING,RUNNING', '-o', '%i %j %T %o %Z']).trim().split('\n');
  return lines.filter((line) => line.includes(jobs)).map((line) => line.split(' ').slice(0, 3));
}

/** Every quarter of a second at most: a batch system is not asked a hundred times a second. */
function watchQueue(place: Place) {
  const names = new Map<string, Set<string>>();
  let most: string[][] = [];
  let next = 0;
  return {
    look() {
      if (performance.now() < next) return;
      next = performance.now() + 250;
      const now = queueOf(place);
      if (now.length > most.length) most = now;
      for (const [id = '', name = ''] of now) names.set(name, (names.get(name) ?? new Set()).add(id));
    },
    most: () => most,
    idsByName: () => names,
  };
}
