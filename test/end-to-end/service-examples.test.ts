import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { routes } from '../../src/ground/protocol/routes.ts';
import { startAgentAs } from '../support/agent-as.ts';
import { adminToken, clientOf, raw } from '../support/api.ts';
import { GROMACS, PYMOL_DATA, skipIfMissing } from '../support/debian.ts';
import { type RunningServer, startServer } from '../support/running-server.ts';
import { startHostProcess } from '../support/service-process.ts';
import { missingPlaces, openPlaces, SITE_USER } from '../support/site-places.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

const EXAMPLES = path.join(import.meta.dirname, '../../examples');
const ENTRIES = '/usr/share/pymol/data';

let server: RunningServer;
beforeAll(async () => {
  server = await startServer(['--workers', '2']);
});
afterAll(() => server[Symbol.asyncDispose]());

/** A copy of an example, as a user would make it; `more` replaces its file. */
function copyOf(example: string, more?: string): string {
  const directory = temporaryDirectory();
  for (const name of new Set([example, 'water-box']))
    cpSync(path.join(EXAMPLES, name), path.join(directory, name), { recursive: true });
  const home = path.join(directory, example);
  if (more !== undefined) writeFileSync(path.join(home, 'service.yaml'), more);
  return home;
}

const show = (number: string) => clientOf(server).call(routes.job, { params: { project: 'default', number } });
const until = (number: string, state: string, seconds = 120) =>
  waitUntil(
    `job ${number} is ${state}`,
    async () => {
      const job = await show(number);
      if (job.state === 'FAILED' && state !== 'FAILED') throw new Error(JSON.stringify(job.serviceJob?.failure));
      return job.state === state && job.serviceJob?.intent === null && job;
    },
    seconds,
  );
const read = (link: string, what: string) =>
  raw(server, `GET ${new URL(link).pathname.replace('/jobs/', '/api/v1/links/')}${what}`);

interface Added {
  readonly number: string;
  readonly link: string;
}

/** What the service has to find, counted by another program. */
function hetatm(file: string, isWater: boolean): string {
  const lines = readFileSync(file, 'latin1').split('\n');
  const wanted = lines.filter((line) => line.startsWith('HETATM') && (isWater || line.slice(17, 20) !== 'HOH'));
  return wanted.map((line) => `${line}\n`).join('');
}

test('hetatm extracts the HETATM records of real PDB entries as an array at a real Slurm site, and compresses its archive', async ({
  skip,
}) => {
  const reason = missingPlaces('slurm');
  if (reason) skip(reason);
  skipIfMissing(skip, PYMOL_DATA);
  const places = await openPlaces();
  const place = await places.place('local', 'slurm', 'archive');
  const directories = [0, 1].map(() => mkdtempSync(path.join(tmpdir(), 'pilotage-agent-')));
  for (const directory of directories) execFileSync('chown', [`${SITE_USER}:`, directory]);
  const agent = startAgentAs(SITE_USER, {
    serverUrl: server.url(),
    token: adminToken(server),
    directory: directories[0] as string,
    workerFiles: directories[1] as string,
    configs: [{ ...place.config, name: 'cluster' }],
  });
  onTestFinished(async () => {
    await agent.stop();
    await places.close();
    for (const directory of directories) rmSync(directory, { recursive: true, force: true });
  });
  const home = copyOf(
    'hetatm',
    'config: { site: cluster, scheduler: slurm, options: --time=5 --partition=short }\ndirectories: { archived: archive }\n',
  );
  await startHostProcess(server, home);
  const files = [`${ENTRIES}/tut/1hpv.pdb`, `${ENTRIES}/demo/1tii.pdb`, `${ENTRIES}/demo/pept.pdb`];
  const args = files.flatMap((file) => ['--file', `pdb=${file}`]);
  const { number, link } = await server.json<Added>(['job', 'add', 'hetatm', ...args]);
  const job = await until(number, 'COMPLETED');
  const results = await waitUntil('the results are there', async () => {
    const answer = await read(link, '/results');
    return answer.status === 200 && answer.json();
  });
  expect(results.files.map((file: { path: string }) => file.path)).toEqual([
    '1hpv.pdb.het',
    '1tii.pdb.het',
    'pept.pdb.het',
    'summary.txt',
  ]);
  for (const file of files)
    expect((await read(link, `/files/${path.basename(file)}.het`)).text, file).toBe(hetatm(file, false));
  const records = files.reduce((sum, file) => sum + hetatm(file, false).split('\n').length - 1, 0);
  expect(records).toBeGreaterThan(30);
  expect(job.serviceJob?.metadata).toEqual({ files: 3, records });
  // Each was a batch job of its own.
  const { jobs } = await clientOf(server).call(routes.jobs, { params: { project: 'default' } });
  expect(jobs.filter(({ site, batchId }) => site === 'cluster' && batchId !== null)).toHaveLength(3);

  // The service's times change, and hold for what is there: the results go to the archive.
  await server.run(['service', 'stop', home]);
  const nowHosted = copyTimes(home, 'retention: { archive: 0s }\ndirectories: { archived: archive }\n');
  await startHostProcess(server, nowHosted);
  const archived = await waitUntil('it is archived and compressed', async () => {
    const found = await show(number);
    const names = existsSync(path.join(home, 'archive')) ? readdirSync(path.join(home, 'archive')) : [];
    const inside = names[0] === undefined ? [] : readdirSync(path.join(home, 'archive', names[0]));
    return found.state === 'ARCHIVED' && inside.every((name) => !/\.(pdb|het|part)$/.test(name)) && found;
  });
  const at = archived.serviceJob?.directory ?? '';
  expect(path.dirname(at)).toBe(path.join(home, 'archive'));
  for (const file of files) {
    expect(gunzipSync(readFileSync(path.join(at, `${path.basename(file)}.gz`)))).toEqual(readFileSync(file));
    expect(gunzipSync(readFileSync(path.join(at, `${path.basename(file)}.het.gz`))).toString('latin1')).toBe(
      hetatm(file, false),
    );
  }
  expect((await read(link, '/results')).status).toBe(410);
});

/** The host of before has ended by SIGTERM: its directory is hosted again with another file. */
function copyTimes(home: string, file: string): string {
  writeFileSync(path.join(home, 'service.yaml'), file);
  return home;
}

test('hetatm on the pool: water is kept when wanted; what is no PDB file ends with a result that explains', async () => {
  const home = copyOf('hetatm');
  await startHostProcess(server, home);
  const example = path.join(home, 'example.pdb');
  const good = await server.json<Added>(['job', 'add', 'hetatm', '--file', `pdb=${example}`, '--set', 'water=true']);
  await until(good.number, 'COMPLETED');
  await waitUntil('the results are there', async () => (await read(good.link, '/results')).status === 200);
  expect((await read(good.link, '/files/example.pdb.het')).text).toBe(hetatm(example, true));
  expect((await read(good.link, '/files/summary.txt')).text).toBe('      3  example.pdb\n');
  const strange = temporaryDirectory({ "it's $(no) entry.pdb": 'nothing of the kind\n' });
  const bad = await server.json<Added>(['job', 'add', 'hetatm', '--file', `pdb=${strange}/it's $(no) entry.pdb`]);
  await until(bad.number, 'COMPLETED');
  await waitUntil('its result is there', async () => (await read(bad.link, '/results')).status === 200);
  expect((await read(bad.link, '/files/problem.txt')).text).toContain(
    "'it's $(no) entry.pdb' has no ATOM or HETATM records",
  );
});

test('adaptive-water runs rounds until the mean is known to the wanted error, or no more may be run', {
  timeout: 900_000,
}, async ({ skip }) => {
  skipIfMissing(skip, GROMACS);
  await startHostProcess(server, copyOf('adaptive-water'));
  const add = (settings: Readonly<Record<string, number>>) =>
    server.json<Added>([
      'job',
      'add',
      'adaptive-water',
      ...Object.entries({ steps: 6000, ...settings }).flatMap(([key, value]) => ['--set', `${key}=${value}`]),
    ]);
  const quick = await add({ error: 1000, most: 10 });
  const limited = await add({ error: 0.01, most: 7 });
  const result = async ({ number, link }: Added) => {
    const { serviceJob } = await until(number, 'COMPLETED', 800);
    await waitUntil('its results are there', async () => (await read(link, '/results')).status === 200);
    return {
      ...(await read(link, '/files/result.json')).json(),
      metadata: serviceJob?.metadata,
      csv: (await read(link, '/files/samples.csv')).text,
    };
  };
  const first = await result(quick);
  expect(first).toMatchObject({ isReached: true, rounds: 1, simulations: 4, temperature: 300 });
  expect(Math.abs(first.mean / -10_000 - 1)).toBeLessThan(0.05);
  const second = await result(limited);
  expect(second).toMatchObject({ isReached: false, rounds: 2, simulations: 7 });
  const values = second.csv
    .trim()
    .split('\n')
    .slice(1)
    .map((line: string) => Number(line.split(',')[1]));
  const mean = values.reduce((sum: number, value: number) => sum + value, 0) / 7;
  const spread = Math.sqrt(values.reduce((sum: number, value: number) => sum + (value - mean) ** 2, 0) / 6 / 7);
  expect(second.mean).toBeCloseTo(mean, 6);
  expect(second.standardError).toBeCloseTo(spread, 6);
  // The same seeds give the same energies: rounds go on, and repeat nothing.
  expect(new Set(values).size).toBe(7);
  expect(second.metadata.samples.slice(0, 4)).toEqual(first.metadata.samples);
});
