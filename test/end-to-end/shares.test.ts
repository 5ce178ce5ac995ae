import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { routes } from '../../src/ground/protocol/routes.ts';
import type { ShareView } from '../../src/ground/protocol/share.ts';
import { clientOf, handWorker } from '../support/api.ts';
import { startServer } from '../support/running-server.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

const PASSWORD = 'correct horse';

interface Why {
  readonly reasons: ReadonlyArray<{ code: string; text: string; numbers: Record<string, number> }>;
}

test('two users share the slots of real workers, limits hold, and why says who comes first', async () => {
  await using server = await startServer();
  const home = temporaryDirectory();
  const go = path.join(home, 'go');
  const admin = clientOf(server);
  const personOf = async (user: string) => {
    await admin.call(routes.addUser, { body: { name: user, password: PASSWORD } });
    await admin.call(routes.grantProject, { params: { project: 'default', user } });
    const { token } = await admin.call(routes.login, { body: { user, password: PASSWORD } });
    const file = path.join(home, `${user}.token`);
    writeFileSync(file, token, { mode: 0o600 });
    const options = { env: { PILOTAGE_TOKEN_FILE: file }, cwd: home };
    return {
      json: <T>(...argv: string[]) => server.json<T>(argv, options),
      run: (...argv: string[]) => server.run(argv, options),
    };
  };
  const anna = await personOf('anna');
  const ben = await personOf('ben');
  const waiting = ['--array', '1-6', '--', 'sh', '-c', `while [ ! -e '${go}' ]; do sleep 0.1; done`];
  const usage = async () =>
    Object.fromEntries((await server.json<ShareView[]>(['user', 'usage'])).map((one) => [one.name, one]));
  const running = (annas: number, bens: number) =>
    waitUntil(`${annas} tasks of anna and ${bens} of ben to run`, async () => {
      const of = await usage();
      return of.anna?.runningTasks === annas && of.ben?.runningTasks === bens;
    });
  const workers = [server.start(['worker', '--slots', '2'])];

  const first = (await anna.json<{ id: number }>('submit', ...waiting)).id;
  await running(2, 0);
  const second = (await ben.json<{ id: number }>('submit', ...waiting)).id;
  const why = await anna.json<Why>('why', `${first}.6`);
  expect(why.reasons.map(({ code }) => code)).toEqual(['fair-share', 'workers-busy']);
  expect(why.reasons[0]).toMatchObject({ numbers: { others: 1, ownRunning: 2, leastRunning: 0, leastWeight: 1 } });
  expect(why.reasons[0]?.text).toMatch(
    /^1 other has had less of late: ben 0\.0 CPU hours and 0 tasks running \(weight 1\), you [\d.]+ CPU hours and 2 tasks running \(weight 1\); your next slot comes after that of ben$/,
  );
  expect((await ben.json<Why>('why', `${first}.6`)).reasons[0]?.text).toContain('the next slot of anna comes after');
  expect((await ben.json<Why>('why', `${second}.1`)).reasons[0]?.code).toBe('workers-busy');

  workers.push(server.start(['worker', '--slots', '2']));
  await running(2, 2);

  const limited = await server.run(['user', 'limit', 'ben', '--running', '2']);
  expect(limited.stdout).toContain('ben may have 2 tasks running, and has 2');
  workers.push(server.start(['worker', '--slots', '6']));
  await running(6, 2);
  const held = await ben.json<Why>('why', `${second}.6`);
  expect(held.reasons).toMatchObject([{ code: 'running-limit', numbers: { running: 2, limit: 2 } }]);
  expect(held.reasons[0]?.text).toContain("'pilotage user limit ben --running N'");
  // Idle workers are woken by it.
  await server.run(['user', 'limit', 'ben', '--running', '4']);
  await running(6, 4);
  expect((await server.run(['project', 'limit', 'default', '--running', '3'])).stdout).toContain('may have 3 tasks');
  const full = (await ben.json<Why>('why', `${second}.6`)).reasons;
  expect(full.map(({ numbers }) => numbers)).toEqual([
    { running: 4, limit: 4 },
    { running: 10, limit: 3 },
  ]);
  await server.run(['project', 'limit', 'default', '--running', 'none']);
  await server.run(['user', 'limit', 'ben', '--running', 'none']);

  await server.kill();
  await server.restart();
  const survived = await usage();
  expect(survived.anna).toMatchObject({ weight: 1 });
  expect(survived.anna?.cpuSeconds).toBeGreaterThan(survived.ben?.cpuSeconds ?? 0);
  writeFileSync(go, '');
  await waitUntil(
    'all to be over',
    async () => (await server.json<{ counts: Record<string, number> }>(['status'])).counts.succeeded === 12,
  );
  const table = await anna.run('user', 'usage');
  expect(table.stdout).toContain('anna');
  expect(table.stdout).not.toContain('ben');
  for (const { child } of workers) child.kill('SIGTERM');
  await Promise.all(workers.map(({ done }) => done));
});

test('administrators give weights and storage, which the audit log tells; what is too much is refused before it is sent', async () => {
  await using server = await startServer();
  const home = temporaryDirectory();
  const admin = clientOf(server);
  await admin.call(routes.addUser, { body: { name: 'anna', password: PASSWORD } });
  const { token } = await admin.call(routes.login, { body: { user: 'anna', password: PASSWORD } });
  const anna = clientOf(server, token);
  for (const name of ['one', 'two']) await anna.call(routes.createProject, { body: { name } });
  expect(await server.run(['user', 'weight', 'anna', '2.5'])).toMatchObject({
    code: 0,
    stdout: 'anna has the weight 2.5\n',
  });
  expect((await server.run(['user', 'weight', 'anna', 'much'])).stderr).toContain("'much' is none");
  expect((await server.run(['user', 'weight', 'nobody', '2'])).stderr).toContain("neither a user 'nobody' nor a token");
  await expect(anna.call(routes.setShare, { params: { user: 'anna' }, body: { weight: 9 } })).rejects.toMatchObject({
    code: 'forbidden',
  });
  const own = { params: { project: 'one' }, body: { running: 9 } };
  await expect(anna.call(routes.setProjectLimit, own)).rejects.toMatchObject({ code: 'forbidden' });
  expect((await server.run(['user', 'limit', 'anna', '--storage', '10KiB'])).code).toBe(0);
  expect((await server.run(['user', 'list'])).stdout).toMatch(
    /anna +regular .* 2\.5 +- +10\.0 KiB|anna +regular .* 2\.5 +- +10 KiB/,
  );

  const file = path.join(home, 'token');
  writeFileSync(file, token, { mode: 0o600 });
  const submit = (project: string, name: string, bytes: number) => {
    writeFileSync(path.join(home, name), name.repeat(bytes / name.length));
    const argv = ['submit', '--project', project, '--input', name, '--', 'true'];
    return server.run(argv, { env: { PILOTAGE_TOKEN_FILE: file }, cwd: home });
  };
  expect(await submit('one', 'a', 6 * 1024)).toMatchObject({ code: 0 });
  const refused = await submit('two', 'b', 6 * 1024);
  expect(refused.code).not.toBe(0);
  expect(refused.stderr).toMatch(
    /'anna', who owns it, may keep 10(\.0)? KiB in all projects together and keeps 6(\.0)? KiB/,
  );
  expect(refused.stderr).toContain('pilotage user limit anna --storage SIZE');
  expect((await anna.call(routes.projectUsage, { params: { project: 'two' } })).bytes).toBe(0);
  const [usage] = await anna.call(routes.usage);
  expect(usage).toMatchObject({ name: 'anna', weight: 2.5, storedBytes: 6144, storageLimit: 10_240 });

  const did = await server.json<{ action: string; subject: string; detail: object; outcome: string }[]>([
    'audit',
    '--action',
    'user.share',
  ]);
  expect(did.map(({ subject, detail }) => [subject, detail])).toEqual([
    ['anna', { weight: 2.5 }],
    ['anna', { storageLimit: 10_240 }],
  ]);
});

test('why does not count on workers that take no tasks of its project', async () => {
  await using server = await startServer();
  const admin = clientOf(server);
  const login = async (name: string) => {
    await admin.call(routes.addUser, { body: { name, password: PASSWORD } });
    return clientOf(server, (await admin.call(routes.login, { body: { user: name, password: PASSWORD } })).token);
  };
  const [ann, bob] = [await login('ann'), await login('bob')];
  await ann.call(routes.createProject, { body: { name: 'anns' } });
  await bob.call(routes.createProject, { body: { name: 'bobs' } });
  await handWorker(ann, 'anns-worker');
  const steps = [{ spec: { command: ['true'] } }];
  const id = (await bob.call(routes.submit, { body: { project: 'bobs', steps } })).submissions[0]?.id;
  const reasons = async () => (await bob.call(routes.why, { params: { id: `${id}.1` } })).reasons;
  expect(await reasons()).toMatchObject([
    {
      code: 'no-worker-for-project',
      text: expect.stringContaining("none of 1 worker takes tasks of project 'bobs': start one with 'pilotage worker'"),
    },
  ]);
  await handWorker(bob, 'bobs-worker');
  expect(await reasons()).toMatchObject([{ code: 'workers-busy', numbers: { able: 1, workers: 1 } }]);
});
