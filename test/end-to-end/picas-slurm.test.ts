import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import type { PilotsView } from '../../src/ground/protocol/pilot.ts';
import { run } from '../support/daemon-engine.ts';
import { type PicasPool, startPicasPool } from '../support/picas.ts';
import { hasPython, installPicas } from '../support/picas-packages.ts';
import type { Running } from '../support/running-server.ts';
import { missingPlaces, openPlaces, type Place, type Places } from '../support/site-places.ts';
import { waitUntil } from '../support/wait-until.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const STARTER = path.join(ROOT, 'examples/picas/start-pilots.sh');

describe.skipIf(!hasPython() || missingPlaces('slurm') !== undefined)('PiCaS pilots by a real Slurm', () => {
  let pool: PicasPool;
  let places: Places;
  let place: Place;
  let directory: string;
  let script: string;
  let n = 0;

  beforeAll(async () => {
    pool = await startPicasPool();
    places = await openPlaces();
    place = await places.place('local', 'slurm', 'shared');
  });
  afterAll(async () => {
    await places?.close();
    await pool?.[Symbol.asyncDispose]();
  });
  beforeEach(() => {
    n += 1;
    directory = mkdtempSync(path.join(place.shared, `test-${n}-`));
    script = path.join(directory, 'pilot.sh');
    const search = [path.join(pool.directory, 'picas_cfg'), path.join(ROOT, 'test/support/picas'), installPicas()].join(
      ':',
    );
    writeFileSync(
      script,
      `#!/bin/sh
#SBATCH --output=/dev/null
PYTHONPATH='${search}'; export PYTHONPATH
PATH='${process.env.PATH}' exec python3 -W ignore '${ROOT}/test/support/picas/quick_pilot.py' '${directory}/note' 0.5
`,
    );
    chmodSync(script, 0o755);
  });

  const push = async (count: number) => {
    const docs = Array.from({ length: count }, (_, i) => ({
      ...{ _id: `slurm-${n}-${i}`, type: 'token', lock: 0, done: 0, hostname: '', scrub_count: 0, exit_code: '' },
    }));
    expect((await pool.ask(`POST /${pool.database}/_bulk_docs`, { body: { docs } })).status).toBe(201);
    return docs.map(({ _id }) => _id).sort();
  };
  const done = async () => (await pool.ids('done')).filter((id) => id.startsWith(`slurm-${n}-`)).sort();
  const ran = () =>
    existsSync(`${directory}/note`)
      ? readFileSync(`${directory}/note`, 'utf8')
          .trim()
          .split('\n')
          .map((line) => line.split(' ')[0])
          .sort()
      : [];
  const start = (view = 'todo') =>
    run(STARTER, [path.join(pool.directory, 'picas_cfg/picasconfig.py'), script, '1', 'Monitor', view]);

  test('the starter submits a pilot as long as there are tokens to do, and none when there are none', async () => {
    expect(start()).toBe('');
    const ids = await push(3);
    expect(start()).toMatch(/Submitted batch job \d+/);
    await waitUntil('all tokens done', async () => (await done()).length === ids.length, 60);
    expect(ran()).toEqual(ids);
    expect(start()).toBe('');
    expect(() => start('nosuchview')).toThrow();
  });

  test('pilotage pilots sends them, as many as tokens wait, to the batch system of a site, and none when none wait', async () => {
    const { server } = pool;
    const sites = path.join(directory, 'sites.yaml');
    writeFileSync(sites, stringify({ sites: [{ ...place.config, name: 'cluster' }] }));
    const settings = ['--site', 'cluster', '--max', '2', '--slots', '1', '--wall-time', '10m'];
    await server.run([
      'pilots',
      'set',
      ...settings,
      '--project',
      pool.database,
      '--directory',
      directory,
      '--',
      script,
    ]);
    const home = mkdtempSync('/tmp/pilotage-agent-');
    const agent: Running = server.start(['agent', '--sites', sites, '--directory', home], { env: { HOME: home } });
    const view = async () =>
      (await server.json<PilotsView[]>(['pilots'])).find(({ site }) => site === 'cluster') as PilotsView;
    try {
      const ids = await push(6);
      await waitUntil('all tokens done', async () => (await done()).length === ids.length, 120);
      expect(ran()).toEqual(ids);
      const ended = await waitUntil(
        'the pilots to leave',
        async () => {
          const now = await view();
          return now.queued + now.pending + now.working === 0 && now.endedToday.worked > 0 ? now : undefined;
        },
        60,
      );
      expect(ended.endedToday.failed).toBe(0);
      expect(ended.wanted).toBe(0);
    } finally {
      agent.child.kill('SIGTERM');
      await agent.done;
      rmSync(home, { recursive: true, force: true });
    }
  });

  test('a program of your own takes the tokens of a project: without one pilots are refused, and why is said', async () => {
    const settings = ['--site', 'cluster', '--max', '2', '--slots', '1', '--wall-time', '10m'];
    const { code, stderr } = await pool.server.run(['pilots', 'set', ...settings, '--', script]);
    expect(code).toBe(2);
    expect(stderr).toContain('--project');
  });
});
