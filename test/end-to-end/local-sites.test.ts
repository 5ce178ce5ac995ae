import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import type { JobDetail } from '../../src/ground/protocol/job.ts';
import { adminToken } from '../support/api.ts';
import { type Running, type RunningServer, startCommand, startServer } from '../support/running-server.ts';
import { missingPlaces, openPlaces, type Place, type Places, SITE_USER } from '../support/site-places.ts';
import { waitUntil } from '../support/wait-until.ts';

/** Everything as an ordinary user of one machine, by the command line alone: agent, jobs, batch system. */
const CASES = (['process', 'slurm', 'grid-engine'] as const).flatMap((scheduler) =>
  (['archive', 'shared'] as const).map((staging) => [scheduler, staging] as const),
);

let pool: RunningServer;
let places: Places;
let home: string;
beforeAll(async () => {
  pool = await startServer(['--heartbeat', '2s', '--lease', '4s']);
  if (missingPlaces() !== undefined) return;
  places = await openPlaces();
  await places.place('local', 'process', 'archive');
  home = mkdtempSync('/var/tmp/pilotage-home-');
  writeFileSync(path.join(home, 'token'), adminToken(pool), { mode: 0o600 });
  for (const file of [home, path.join(home, 'token')]) chownSync(file, idOf('-u'), idOf('-g'));
});
afterAll(async () => {
  await places?.close();
  await pool[Symbol.asyncDispose]();
  if (home) rmSync(home, { recursive: true, force: true });
});

function idOf(which: '-u' | '-g'): number {
  return Number(execFileSync('id', [which, SITE_USER], { encoding: 'utf8' }));
}

function asUser(argv: readonly string[], cwd: string): Running {
  const exec = ['setpriv', `--reuid=${SITE_USER}`, `--regid=${idOf('-g')}`, '--init-groups'];
  const env = {
    HOME: home,
    XDG_CONFIG_HOME: path.join(home, 'config'),
    XDG_DATA_HOME: path.join(home, 'data'),
    XDG_CACHE_HOME: path.join(home, 'cache'),
    PILOTAGE_SERVER: pool.url(),
    PILOTAGE_TOKEN_FILE: path.join(home, 'token'),
  };
  return startCommand(argv, { exec, env, cwd });
}

describe.skipIf(missingPlaces() !== undefined).each(CASES)('on this machine, with %s and %s', (scheduler, staging) => {
  let place: Place;
  let agent: Running;
  let project: string;
  beforeAll(async () => {
    const why = missingPlaces(scheduler);
    if (why !== undefined) throw new Error(why);
    place = await places.place('local', scheduler, staging);
    project = path.join(place.shared, 'project');
    mkdirSync(path.join(project, 'data'), { recursive: true });
    writeFileSync(path.join(project, 'data/in.txt'), 'hello\n');
    for (const one of [project, path.join(project, 'data')]) {
      chmodSync(one, 0o755);
      chownSync(one, idOf('-u'), idOf('-g'));
    }
    const sites = path.join(home, 'config/pilotage/sites.yaml');
    mkdirSync(path.dirname(sites), { recursive: true });
    writeFileSync(sites, stringify({ sites: [place.config] }));
    agent = asUser(['agent'], home);
    await waitUntil('the agent to register', () => agent.stderr().includes('"registered"'));
  });
  afterAll(async () => {
    agent?.child.kill('SIGTERM');
    await agent?.done;
  });
  const run = (argv: readonly string[]) => asUser(argv, project).done;

  test('the site passes its test', async () => {
    const { code, stdout, stderr } = await run(['site', 'test', place.config.name]);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/scheduler/);
  });

  test('a job runs as that user, and its files come back into the project', async () => {
    const words = ['--input', 'data/in.txt', '--output', 'data/out.txt', '--', 'sh', '-c'];
    const script = 'tr a-z A-Z <data/in.txt >data/out.txt; id -un; exit 0';
    const done = await run(['job', 'run', '--site', place.config.name, ...words, script]);
    expect(done).toMatchObject({ code: 0, stdout: `${SITE_USER}\n` });
    expect(readFileSync(path.join(project, 'data/out.txt'), 'utf8')).toBe('HELLO\n');
    expect(statSync(path.join(project, 'data/out.txt')).uid).toBe(idOf('-u'));
    const failed = await run(['job', 'run', '--site', place.config.name, '--', 'sh', '-c', 'echo bad >&2; exit 9']);
    expect([failed.code, failed.stderr]).toEqual([9, expect.stringContaining('bad\n')]);
  });

  test('its processes are listed, and a cancelled one says what happened', async () => {
    const { stdout } = await run([
      '--json',
      'job',
      'run',
      '--detach',
      '--site',
      place.config.name,
      '--',
      'sleep',
      '777',
    ]);
    const { number } = JSON.parse(stdout) as JobDetail;
    const show = async (): Promise<JobDetail> =>
      JSON.parse((await run(['--json', 'job', 'show', number])).stdout) as JobDetail;
    await waitUntil('it runs', async () => (await show()).phase === 'running', 60);
    const listed = await run(['job', 'ps']);
    expect(listed.stdout).toMatch(
      scheduler === 'process' ? /sleep 777/ : new RegExp(`${number} +${place.config.name}`),
    );
    const cancelled = await run(['job', 'cancel', number]);
    expect(cancelled.stdout).toMatch(new RegExp(`job ${number} CANCELLED: batch job .* was (ended|over already)`));
    await waitUntil(
      'nothing is left of it',
      () => !readdirSync(place.jobs).some((name) => /^pilotage-\d/.test(name)),
      60,
    );
  });
});
