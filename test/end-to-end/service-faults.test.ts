import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { routes } from '../../src/ground/protocol/routes.ts';
import { findFaketime } from '../chaos/faketime.ts';
import { adminToken, clientOf, raw } from '../support/api.ts';
import { FAKETIME, POSTGRES, SYSTEMD, skipIfMissing } from '../support/debian.ts';
import { startPostgres } from '../support/postgres.ts';
import { type RunningServer, startServer } from '../support/running-server.ts';
import { namesIn, serviceHome } from '../support/service-home.ts';
import { startHostAs, startHostProcess } from '../support/service-process.ts';
import { smallDisk } from '../support/small-disk.ts';
import { makeUser } from '../support/ssh-accounts.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

let server: RunningServer;
beforeAll(async () => {
  server = await startServer(['--workers', '1']);
});
afterAll(() => server[Symbol.asyncDispose]());

/** A service whose jobs wait, when told so, until a file 'go' lies in its directory. */
const PLAIN = (name: string, hooks = '') => `
import { appendFileSync, existsSync, writeFileSync } from 'node:fs';
import { defineService, nothing, pool, Type } from 'pilotage/service';
import path from 'node:path';
const here = import.meta.dirname;
export default defineService({
  name: '${name}', parameters: Type.Object({ text: Type.String({ default: '' }) }),
  ${hooks.includes('run:') ? '' : 'run: () => nothing(),'}
  ${hooks}
});
`;
const WAITING = "run: () => pool({ command: ['sh', '-c', 'until [ -e ' + here + '/go ]; do sleep 0.05; done'] }),";

const at = (of: RunningServer = server) => ({
  add: (service: string, body: object = {}) =>
    clientOf(of).call(routes.createServiceJob, { params: { project: 'default', service }, body }),
  show: (number: string) => clientOf(of).call(routes.job, { params: { project: 'default', number } }),
  counts: async (service: string) =>
    (await clientOf(of).call(routes.service, { params: { project: 'default', service } })).counts,
});
const until = (number: string, state: string, of: RunningServer = server) =>
  waitUntil(`job ${number} is ${state}`, async () => {
    const job = await at(of).show(number);
    return job.state === state && job.serviceJob?.intent === null && job;
  });

test('a job that comes after another begins when that is complete, though no hook has changed its metadata', async () => {
  const home = serviceHome(PLAIN('chain', WAITING));
  await startHostProcess(server, home);
  const first = await at().add('chain');
  const second = await at().add('chain', { after: [first.number] });
  await until(first.number, 'RUNNING');
  expect(await at().show(second.number)).toMatchObject({ state: 'INCOMING', serviceJob: { waitsFor: [first.number] } });
  writeFileSync(path.join(home, 'go'), '');
  await until(first.number, 'COMPLETED');
  await until(second.number, 'COMPLETED');
});

test('a job that comes after one that failed does not wait for ever: it fails, and says after which', async () => {
  const home = serviceHome(
    PLAIN('broken-chain', "preprocess(job) { if (job.parameters.text === 'bad') throw new Error('no'); },"),
  );
  const first = await (async () => {
    await startHostProcess(server, home);
    return at().add('broken-chain', { parameters: { text: 'bad' } });
  })();
  const second = await at()
    .add('broken-chain', { after: [first.number] })
    .catch((error: Error) => error);
  // It may have failed before the second one was added: then that is refused, with the same reason.
  if (second instanceof Error)
    expect(second.message).toContain(`job ${first.number}, after which this one is to come, has failed`);
  else
    expect((await until(second.number, 'FAILED')).reason).toContain(
      `it comes after job ${first.number}, which is FAILED`,
    );
});

test('archive after a time and expire never: results are archived all the same', async () => {
  await startHostProcess(server, serviceHome(PLAIN('never'), 'retention: { archive: 1s, expire: NEVER }\n'));
  const { number } = await at().add('never');
  const job = await until(number, 'ARCHIVED');
  expect(job.serviceJob?.dueAt).toBe(null);
});

test('a host that starts looks at all its jobs at once: what came while none was there is begun', async () => {
  const home = serviceHome(PLAIN('away'));
  const first = await startHostProcess(server, home);
  first.child.kill('SIGTERM');
  await first.done;
  const jobs = await Promise.all(Array.from({ length: 5 }, () => at().add('away')));
  expect(await at().counts('away')).toEqual({ INCOMING: 5 });
  const begun = performance.now();
  await startHostProcess(server, home);
  for (const { number } of jobs) await until(number, 'COMPLETED');
  expect(performance.now() - begun).toBeLessThan(15_000);
});

test('a job that fails or is skipped takes no slot away from those that run', async () => {
  const home = serviceHome(
    PLAIN(
      'slots',
      `${WAITING} preprocess(job) { if (job.parameters.text === 'skip') job.skipRun(); if (job.parameters.text === 'fail') throw new Error('no'); },`,
    ),
    'limits: { running: 2 }\n',
  );
  await startHostProcess(server, home);
  const texts = ['fail', 'skip', 'fail', 'run', 'run', 'run'];
  for (const text of texts) await at().add('slots', { parameters: { text } });
  await waitUntil('two run, and one waits', async () => {
    const { RUNNING, INCOMING, FAILED, COMPLETED } = await at().counts('slots');
    return RUNNING === 2 && INCOMING === 1 && FAILED === 2 && COMPLETED === 1;
  });
  writeFileSync(path.join(home, 'go'), '');
  await waitUntil('all are through', async () => (await at().counts('slots')).COMPLETED === 4);
});

test('SIGTERM while a hook runs lets it come to its end; nothing is half done, and the next host goes on', async () => {
  const home = serviceHome(
    PLAIN(
      'ending',
      `async preprocess() {
        appendFileSync(path.join(here, 'marks'), 'begun\\n');
        while (!existsSync(path.join(here, 'release'))) await new Promise((go) => setTimeout(go, 20));
        appendFileSync(path.join(here, 'marks'), 'ended\\n');
      },`,
    ),
  );
  const marks = (): string =>
    existsSync(path.join(home, 'marks')) ? readFileSync(path.join(home, 'marks'), 'utf8') : '';
  const first = await startHostProcess(server, home);
  const { number } = await at().add('ending');
  await waitUntil('the hook runs', () => marks() === 'begun\n');
  first.child.kill('SIGTERM');
  await waitUntil('the host ends', () => first.stderr().includes('ending') || first.child.exitCode === null);
  writeFileSync(path.join(home, 'release'), '');
  expect(await first.done).toMatchObject({ code: 0 });
  expect(marks()).toBe('begun\nended\n');
  await startHostProcess(server, home);
  await until(number, 'COMPLETED');
});

test('a stray file and a directory of nobody stop no service, whatever they are called', async () => {
  const home = serviceHome(PLAIN('stray'));
  mkdirSync(path.join(home, 'jobs', 'uploading'), { recursive: true });
  writeFileSync(path.join(home, 'jobs', 'a-file'), 'x');
  mkdirSync(path.join(home, 'incoming', 'half an upload'), { recursive: true });
  await startHostProcess(server, home);
  const { number } = await at().add('stray');
  await until(number, 'COMPLETED');
  expect(namesIn(path.join(home, 'jobs'))).toEqual(expect.arrayContaining(['a-file', 'uploading']));
  expect(namesIn(path.join(home, 'incoming'))).toEqual(['half an upload']);
});

test('a slow hook of the archive keeps no living job waiting', async () => {
  const home = serviceHome(
    PLAIN(
      'lanes',
      "async archive() { writeFileSync(path.join(here, 'archiving'), ''); while (!existsSync(path.join(here, 'go'))) await new Promise((go) => setTimeout(go, 20)); },",
    ),
    'retention: { archive: 0s }\n',
  );
  await startHostProcess(server, home);
  const old = await at().add('lanes');
  await waitUntil('its archive hook runs', () => existsSync(path.join(home, 'archiving')));
  const young = await at().add('lanes');
  await waitUntil(
    'the younger one is complete',
    async () => (await at().show(young.number)).serviceJob?.times.COMPLETED,
  );
  expect((await at().show(old.number)).serviceJob?.times.EXPIRED).toBeUndefined();
  writeFileSync(path.join(home, 'go'), '');
  await until(young.number, 'ARCHIVED');
});

test('a queue that is too long refuses new jobs, of all and of one user, and says when to come again', async () => {
  const home = serviceHome(PLAIN('busy', WAITING), 'limits: { running: 1, waiting: 3, perUser: 2 }\n');
  await startHostProcess(server, home);
  const body = { name: 'somebody', scopes: ['submit' as const], projects: ['default'] };
  const { token } = await clientOf(server).call(routes.createToken, { body });
  const post = (by: string) =>
    raw(server, 'POST /api/v1/projects/default/services/busy/jobs', { token: by, body: JSON.stringify({}) });
  expect([(await post(token)).status, (await post(token)).status]).toEqual([201, 201]);
  const third = await post(token);
  expect([third.status, third.json().code, third.headers.get('retry-after')]).toEqual([503, 'busy', '60']);
  expect(third.json().detail).toContain('2 unfinished jobs of yours, and takes no more');
  expect((await post(adminToken(server))).status).toBe(201);
  const fourth = await post(adminToken(server));
  expect([fourth.status, fourth.json().detail]).toEqual([
    503,
    expect.stringContaining("the service 'busy' has 3 unfinished jobs"),
  ]);
  writeFileSync(path.join(home, 'go'), '');
  await waitUntil('there is room again', async () => (await post(token)).status === 201);
});

test('no job is begun while the disk is full, and the first one as soon as there is room', async ({ skip }) => {
  const disk = smallDisk('64m', skip);
  const home = serviceHome(
    PLAIN('room'),
    `directories: { preprocessing: ${disk}/jobs }\nlimits: { freeDisk: 32MiB }\n`,
  );
  const filler = path.join(disk, 'filler');
  writeFileSync(filler, Buffer.alloc(48 * 2 ** 20));
  const running = await startHostProcess(server, home);
  const { number } = await at().add('room');
  await waitUntil('the host says so', () => running.stderr().includes('no job is begun until there is room'));
  expect((await at().show(number)).state).toBe('INCOMING');
  rmSync(filler);
  await until(number, 'COMPLETED');
});

test('a job that is to run once more does so on a full disk, whoever waits for room', async ({ skip }) => {
  const disk = smallDisk('64m', skip);
  const home = serviceHome(
    PLAIN(
      'again',
      `preprocess() { writeFileSync('${disk}/filler', Buffer.alloc(48 * 2 ** 20)); },
      async postprocess(job) {
        if (job.run > 1) return;
        while (!existsSync(path.join(here, 'go'))) await new Promise((next) => setTimeout(next, 50));
        job.rescheduleRun();
      },
      complete() { process.getBuiltinModule('node:fs').rmSync('${disk}/filler', { force: true }); },`,
    ),
    `directories: { preprocessing: ${disk}/jobs }\nlimits: { freeDisk: 32MiB, running: 1 }\n`,
  );
  const running = await startHostProcess(server, home);
  const first = await at().add('again');
  await until(first.number, 'POSTPROCESSING');
  const second = await at().add('again');
  await waitUntil('the second waits for room', () => running.stderr().includes('no job is begun until there is room'));
  writeFileSync(path.join(home, 'go'), '');
  await until(first.number, 'COMPLETED');
  await until(second.number, 'COMPLETED');
});

test('a job name, a contact and parameters may hold anything that a text may hold', async () => {
  await startHostProcess(
    server,
    serviceHome(PLAIN('names', "preprocess(job) { writeFileSync('text', job.parameters.text); },")),
  );
  const name = '\'; drop table jobs; -- $(reboot) `x` \\ "%s" ../../../x \n\t\u{1F600} \u202e é';
  const text = `${name}\u0000\uffff`;
  const { number } = await at().add('names', { name, contact: "o'brien+x@exämple.org", parameters: { text } });
  const job = await until(number, 'COMPLETED');
  expect(job).toMatchObject({ name, serviceJob: { contact: "o'brien+x@exämple.org", parameters: { text } } });
  expect(readFileSync(path.join(job.serviceJob?.directory ?? '', 'text'), 'utf8')).toBe(text);
  const refused = await raw(server, 'POST /api/v1/projects/default/services/names/jobs', {
    token: adminToken(server),
    body: JSON.stringify({ name: 'a\u0000b' }),
  });
  expect([refused.status, refused.json().code]).toEqual([400, 'bad-request']);
});

test('a clock that is set back, or forward and back, archives nothing early and nothing twice', async ({ skip }) => {
  skipIfMissing(skip, FAKETIME);
  const clock = path.join(temporaryDirectory(), 'clock');
  const set = (offset: string): void => writeFileSync(clock, `${offset}\n`);
  set('+0');
  await using own = await startServer(['--workers', '1'], {
    LD_PRELOAD: findFaketime(),
    FAKETIME_TIMESTAMP_FILE: clock,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    DONT_FAKE_MONOTONIC: '1',
  });
  const home = serviceHome(
    PLAIN('clocks', "archive() { appendFileSync(path.join(here, 'archived'), 'x'); },"),
    'retention: { archive: 1h }\n',
  );
  await startHostProcess(own, home);
  const first = await at(own).add('clocks');
  const done = await until(first.number, 'COMPLETED', own);
  const times = Object.values(done.serviceJob?.times ?? {});
  expect([...times].sort()).toEqual(times);
  set('-1d');
  // Also across a restart of the server.
  await own.kill();
  await own.restart();
  const second = await at(own).add('clocks');
  const after = await until(second.number, 'COMPLETED', own);
  expect(Date.parse(after.createdAt)).toBeGreaterThanOrEqual(Date.parse(done.finishedAt ?? ''));
  expect((await at(own).show(first.number)).state).toBe('COMPLETED');
  // The server's clock follows a jump forward slowly while it runs, and at once when it starts.
  set('+2h');
  await own.kill('SIGTERM');
  await own.restart();
  await until(first.number, 'ARCHIVED', own);
  await until(second.number, 'ARCHIVED', own);
  await waitUntil(
    'both hooks were called',
    () => namesIn(home).includes('archived') && readFileSync(path.join(home, 'archived'), 'utf8') === 'xx',
  );
  set('-1d');
  const third = await at(own).add('clocks');
  await until(third.number, 'COMPLETED', own);
  expect(readFileSync(path.join(home, 'archived'), 'utf8')).toBe('xx');
});

test('two servers on one PostgreSQL: a job that one of them takes is begun by the host at the other, and links are the same', async ({
  skip,
}) => {
  skipIfMissing(skip, POSTGRES);
  const postgres = await startPostgres();
  onTestFinished(() => postgres.stop());
  const env = { PILOTAGE_DATABASE: await postgres.newDatabase() };
  await using one = await startServer(['--workers', '1'], env);
  await startHostProcess(one, serviceHome(PLAIN('shared')));
  // Its key of links is another one: it says what to do, and works. What is told when a job is added opens at both.
  const data = temporaryDirectory();
  const startSecond = async () => {
    const running = one.start(['serve', '--data', data, '--listen', '127.0.0.1:0'], { env });
    onTestFinished(async () => {
      running.child.kill('SIGTERM');
      await running.done;
    });
    await waitUntil('the second one serves', () => running.stdout().includes('serves at'));
    return running;
  };
  const opensAt = async (link: string, of: { data: string; url(): string }) =>
    (await raw(of, `GET ${new URL(link).pathname.replace('/jobs/', '/api/v1/links/')}`)).status;
  const before = await startSecond();
  expect(before.stderr()).toContain("Copy 'link-key' from the data directory of another server");
  const two = {
    data,
    url: () => (JSON.parse(readFileSync(path.join(data, 'server.json'), 'utf8')) as { url: string }).url,
  };
  const early = await at(two as RunningServer).add('shared');
  for (const of of [one, two]) expect(await opensAt(early.link, of)).toBe(200);
  before.child.kill('SIGTERM');
  await before.done;
  copyFileSync(path.join(one.data, 'link-key'), path.join(data, 'link-key'));
  const running = await startSecond();
  expect(running.stderr()).not.toContain('link-key');
  const made = await clientOf(two).call(routes.createServiceJob, {
    params: { project: 'default', service: 'shared' },
    body: {},
  });
  await until(made.number, 'COMPLETED', one);
  for (const of of [one, two]) expect(await opensAt(made.link, of)).toBe(200);
  // Made again, by either, it is the same.
  for (const of of [one, two])
    expect(new URL((await at(of as RunningServer).show(made.number)).serviceJob?.link ?? '').pathname).toBe(
      new URL(made.link).pathname,
    );
});

test('the unit that is printed is one that systemd understands, for directories with any name', async ({ skip }) => {
  skipIfMissing(skip, SYSTEMD);
  const home = path.join(temporaryDirectory(), 'a "strange" 100% $name');
  mkdirSync(home);
  writeFileSync(path.join(home, 'service.yaml'), '');
  const { code, stdout } = await server.run(['service', 'unit', home]);
  expect(code).toBe(0);
  const program = path.join(temporaryDirectory(), 'pilotage');
  writeFileSync(program, '#!/bin/sh\n', { mode: 0o755 });
  const unit = path.join(temporaryDirectory(), 'pilotage-services.service');
  writeFileSync(unit, stdout.replace(/^ExecStart=pilotage/m, `ExecStart=${program}`));
  const said = execFileSync('systemd-analyze', ['verify', unit], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  expect(said).toBe('');
});

test('another account fills the incoming directory: with a shared group the host moves what it gets, else it says what to do', async ({
  skip,
}) => {
  if (process.getuid?.() !== 0) skip('it takes root to be two other accounts');
  const { user } = makeUser('/bin/bash');
  const [uid, gid] = ['-u', '-g'].map((which) => execFileSync('id', [which, user], { encoding: 'utf8' }).trim());
  const home = serviceHome(PLAIN('two-accounts', "preprocess() { writeFileSync('seen', ''); },"));
  copyFileSync(path.join(server.data, 'admin-token'), path.join(home, 'token'));
  execFileSync('chown', ['-R', `${user}:`, home]);
  execFileSync('chmod', ['755', home]);
  execFileSync('chmod', ['2775', path.join(home, 'incoming')]);
  const own = `--reuid=${uid} --regid=${gid} --clear-groups`.split(' ');
  const options = { exec: ['setpriv', ...own], env: { HOME: home }, cwd: home };
  await startHostAs(options, { server: server.url(), tokenFile: path.join(home, 'token') }, [home]);
  const fill = (name: string, mask: string) =>
    execFileSync(
      'setpriv',
      [
        '--reuid=nobody',
        '--regid=nogroup',
        `--groups=${gid}`,
        'sh',
        '-c',
        `umask ${mask}; mkdir incoming/${name}; echo x > incoming/${name}/in`,
      ],
      { cwd: home },
    );
  fill('shared', '002');
  fill('closed', '022');
  const good = await at().add('two-accounts', { directory: 'shared' });
  const bad = await at().add('two-accounts', { directory: 'closed' });
  const job = await until(good.number, 'COMPLETED');
  expect(namesIn(job.serviceJob?.directory ?? '')).toEqual(['in', 'seen']);
  const failed = await until(bad.number, 'FAILED');
  expect(failed.serviceJob?.failure).toMatchObject({
    hook: 'move',
    message: expect.stringContaining("'umask 002' where it is filled"),
  });
  expect(namesIn(path.join(home, 'incoming'))).toEqual(['closed']);
  // As it says: mended, and resubmitted.
  execFileSync('chmod', ['-R', 'g+w', path.join(home, 'incoming/closed')]);
  await server.run(['job', 'resubmit', bad.number]);
  await until(bad.number, 'COMPLETED');
});

test('a job whose tasks no worker can take says why, where people look', async () => {
  await startHostProcess(server, serviceHome(PLAIN('too-large', "run: () => pool({ command: ['true'], cpus: 200 }),")));
  const { number } = await at().add('too-large');
  await waitUntil('its progress tells', async () =>
    (await at().show(number)).progress?.message?.includes('none of 1 workers has what it asks for'),
  );
});
