import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { routes } from '../../src/ground/protocol/routes.ts';
import { type Host, startHost } from '../../src/worker/service/host.ts';
import { readServiceConfig } from '../../src/worker/service/read-config.ts';
import { clientOf, raw } from '../support/api.ts';
import { MAIL_PASSWORD, MAIL_USER, type MailServer, missingExim, startExim } from '../support/exim.ts';
import { type HookReceiver, startHookReceiver } from '../support/hook-receiver.ts';
import { memoryLog } from '../support/memory-log.ts';
import { type RunningServer, startServer } from '../support/running-server.ts';
import { serviceHome } from '../support/service-home.ts';
import { startHostProcess } from '../support/service-process.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

const noExim = missingExim();
const FROM = ['--mail-from', 'pilotage@example.org'];

/** A service without a run; `hooks` besides. */
const moduleOf = (name: string, hooks = '') => `
import { defineService, nothing, Type } from 'pilotage/service';
export default defineService({
  name: '${name}', title: 'The ${name}',
  parameters: Type.Object({ how: Type.String({ default: '' }) }), metadata: Type.Object({ seen: Type.String() }),
  run(job) { if (job.parameters.how === 'fail') throw new Error('oh no: ' + job.number); return nothing(); },
  ${hooks}
});`;

async function startServerFor(flags: string[], env: Record<string, string> = {}): Promise<RunningServer> {
  const server = await startServer(flags, env);
  onTestFinished(() => server[Symbol.asyncDispose]());
  return server;
}

async function host(server: RunningServer, home: string): Promise<{ host: Host; log: ReturnType<typeof memoryLog> }> {
  const log = memoryLog();
  const made = await startHost({
    client: clientOf(server),
    config: readServiceConfig(home),
    version: 'test',
    log,
    environment: process.env,
  });
  onTestFinished(async () => {
    made.stop(0);
    await made.done.catch(() => {});
  });
  return { host: made, log };
}

const at = { project: 'default' };
const add = (server: RunningServer, service: string, contact?: string, how = '') =>
  clientOf(server).call(routes.createServiceJob, {
    params: { ...at, service },
    body: { parameters: { how }, ...(contact === undefined ? {} : { contact }) },
  });
const serviceOf = (server: RunningServer, service: string) =>
  clientOf(server).call(routes.service, { params: { ...at, service } });
const untilState = (server: RunningServer, number: string, state: string) =>
  waitUntil(`job ${number} is ${state}`, async () => {
    const job = await clientOf(server).call(routes.job, { params: { ...at, number } });
    return job.state === state && job.serviceJob?.intent === null && job;
  });

describe.skipIf(noExim)('mail', () => {
  let exim: MailServer;
  let server: RunningServer;
  beforeAll(async () => {
    exim = await startExim();
    server = await startServer(['--smtp', exim.url, ...FROM, '--mail-window', '3s']);
  });
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    await exim?.[Symbol.asyncDispose]();
  });
  const letterTo = (address: string) =>
    waitUntil(`a mail to ${address}`, () => {
      const [letter] = exim.to(address);
      return letter;
    });

  test('the user is told when the job is complete, with the link, and nobody else', async () => {
    await host(server, serviceHome(moduleOf('told'), 'mail: {admin: admin-told@example.org}\n'));
    const { number } = await add(server, 'told', 'user-told@example.org');
    const { subject, text } = await letterTo('user-told@example.org');
    expect(subject).toBe(`The told: job ${number} is complete`);
    // The link is whole, and the results are there when somebody is told of them.
    const link = new RegExp(`Its results: (http://.*/jobs/default/${number}/\\S+)\\n`).exec(text)?.[1] ?? '';
    const results = await raw(server, `GET ${new URL(link).pathname.replace('/jobs/', '/api/v1/links/')}/results`);
    expect(results.status).toBe(200);
    // The database does not know it.
    const secret = link.split('/').at(-1) ?? '';
    for (const file of ['pilotage.db', 'pilotage.db-wal'])
      expect(readFileSync(path.join(server.data, file), 'latin1')).not.toContain(secret);
    expect(exim.to('user-told@example.org')).toHaveLength(1);
    expect(exim.to('admin-told@example.org')).toEqual([]);
    expect((await serviceOf(server, 'told')).notices).toEqual({ waiting: 0, failed: 0, lastError: null });
  });

  test('a user is told at once, not at the next look of the server', async () => {
    await host(server, serviceHome(moduleOf('prompt')));
    const begun = performance.now();
    for (let n = 0; n < 6; n += 1) {
      await add(server, 'prompt', `prompt-${n}@example.org`);
      await letterTo(`prompt-${n}@example.org`);
    }
    expect(performance.now() - begun).toBeLessThan(15_000);
  });

  test('the author writes the mail, or wants none; a hook that throws, or writes no mail, fails the job', async () => {
    const mail = `complete(job) { job.metadata.seen = 'yes'; },
      mail(job, service) {
        if (job.parameters.how === 'throw') throw new Error('no words');
        if (job.parameters.how === 'wrong') return { title: 'x' } as never;
        if (job.parameters.how === 'none') return null;
        return { subject: 'My\\nown', text: service.name + ' ' + job.metadata.seen + ' ' + process.cwd().endsWith(job.uid.slice(0, 8)) + ': {link} is ' + job.url };
      },`;
    await host(server, serviceHome(moduleOf('own', mail)));
    const none = await add(server, 'own', 'user-none@example.org', 'none');
    const mine = await add(server, 'own', 'user-own@example.org');
    const thrown = await add(server, 'own', 'user-throw@example.org', 'throw');
    const wrong = await add(server, 'own', 'user-wrong@example.org', 'wrong');
    const nobody = await add(server, 'own', undefined, 'throw');
    expect(await letterTo('user-own@example.org')).toMatchObject({
      subject: 'My own',
      text: expect.stringMatching(
        new RegExp(`^own yes .*: (http://.*/jobs/default/${mine.number}/[\\w-]{32}) is \\1\\n$`),
      ),
    });
    // Also where a hook has written it out, the database keeps a word for it.
    const { link } = (await untilState(server, mine.number, 'COMPLETED')).serviceJob ?? {};
    const secret = link?.split('/').at(-1) ?? 'none';
    for (const file of ['pilotage.db', 'pilotage.db-wal'])
      expect(readFileSync(path.join(server.data, file), 'latin1')).not.toContain(secret);
    expect((await untilState(server, thrown.number, 'FAILED')).serviceJob).toMatchObject({
      failure: { hook: 'mail', message: 'no words' },
      metadata: { seen: 'yes' },
    });
    expect((await untilState(server, wrong.number, 'FAILED')).reason).toContain(
      'mail: \'mail\' returned {"title":"x"}, which is no mail',
    );
    await untilState(server, none.number, 'COMPLETED');
    await untilState(server, nobody.number, 'COMPLETED');
    for (const user of ['none', 'throw', 'wrong']) expect(exim.to(`user-${user}@example.org`)).toEqual([]);
  });

  test('the administrator is told of a failure, with the job, the hook and the stack; its user is not', async () => {
    await host(server, serviceHome(moduleOf('fails'), 'mail: {admin: [admin-fails@example.org]}\n'));
    const { number } = await add(server, 'fails', 'user-fails@example.org', 'fail');
    const { subject, text } = await letterTo('admin-fails@example.org');
    expect(subject).toBe(`fails: job ${number} FAILED`);
    expect(text).toContain("in the hook 'run'");
    expect(text).toContain(`Error: oh no: ${number}`);
    expect(text).toMatch(/at .*service\.ts:\d+/);
    expect(exim.to('user-fails@example.org')).toEqual([]);
  });

  test('two hundred jobs that fail make a handful of mails, with all of them', async () => {
    const home = serviceHome(moduleOf('flood'), 'mail: {admin: admin-flood@example.org}\nlimits: {running: 20}\n');
    await host(server, home);
    const jobs = await Promise.all(Array.from({ length: 200 }, () => add(server, 'flood', undefined, 'fail')));
    await waitUntil('all have failed', async () => (await serviceOf(server, 'flood')).counts.FAILED === 200, 120);
    await waitUntil('all is told', async () => (await serviceOf(server, 'flood')).notices.waiting === 0, 120);
    const letters = await waitUntil('all is there', () => {
      const found = exim.to('admin-flood@example.org');
      const told = found.reduce((sum, { subject }) => sum + Number(/: (\d+) jobs FAILED/.exec(subject)?.[1] ?? 1), 0);
      return told === 200 && found;
    });
    expect(letters.length).toBeLessThan(8);
    const all = letters.map(({ text }) => text).join('\n');
    for (const { number } of jobs) expect(all).toContain(`oh no: ${number}`);
  });

  test('a recipient that is refused is given up, and the service says so', async () => {
    const home = serviceHome(moduleOf('refused'));
    await startHostProcess(server, home);
    await add(server, 'refused', 'nobody@example.org');
    const { notices } = await waitUntil('it is given up', async () => {
      const view = await serviceOf(server, 'refused');
      return view.notices.failed === 1 && view;
    });
    expect(notices.lastError).toContain('550 there is nobody of that name');
    expect((await server.run(['service', 'status', home])).stdout).toMatch(
      /is running \(process \d+\)\n {2}mails and web hooks: 1 given up \(SMTP: .*550 there is nobody/,
    );
    expect((await server.run(['service', 'list'])).stdout).toContain('1 given up');
  });

  test('a host that ends because something is wrong is told, one that is stopped is not', async () => {
    const home = serviceHome(moduleOf('ends'), 'mail: {admin: admin-ends@example.org}\n');
    const first = await host(server, home);
    first.host.stop();
    await first.host.done;
    const second = await host(server, home);
    second.host.fail(new Error('the disk is\nfull'));
    await expect(second.host.done).rejects.toThrow('the disk is');
    expect(await letterTo('admin-ends@example.org')).toMatchObject({
      subject: 'ends: its host ended: the disk is full',
      text: expect.stringContaining(`process ${process.pid} on `),
    });
    expect(exim.to('admin-ends@example.org')).toHaveLength(1);
  });
});

test.skipIf(noExim)('the mail server is down, the server is killed: each mail is sent later, once', async () => {
  const exim = await startExim();
  onTestFinished(() => exim[Symbol.asyncDispose]());
  await exim.stop();
  const server = await startServerFor(['--smtp', exim.url, ...FROM]);
  await host(server, serviceHome(moduleOf('down')));
  const users = Array.from({ length: 5 }, (_, n) => `user${n}@example.org`);
  for (const user of users) await add(server, 'down', user);
  await waitUntil('all wait', async () => {
    const { notices } = await serviceOf(server, 'down');
    return notices.waiting === users.length && notices.lastError?.includes('ECONNREFUSED');
  });
  await server.kill('SIGKILL');
  await server.restart();
  await exim.start();
  await waitUntil('all are sent', async () => (await serviceOf(server, 'down')).notices.waiting === 0, 60);
  await waitUntil('all are there', () => exim.letters().length === users.length);
  expect(
    exim
      .letters()
      .map(({ to }) => to)
      .sort(),
  ).toEqual(users);
});

test.skipIf(noExim)(
  'kill -9 of the server while it sends: each mail comes, and twice only with the same id',
  async () => {
    const exim = await startExim();
    onTestFinished(() => exim[Symbol.asyncDispose]());
    const server = await startServerFor(['--smtp', exim.url, ...FROM]);
    await host(server, serviceHome(moduleOf('killed'), 'limits: {running: 20}\n'));
    const users = Array.from({ length: 60 }, (_, n) => `user${n}@example.org`);
    for (const user of users) await add(server, 'killed', user);
    await waitUntil('some are there', () => exim.letters().length > 5);
    await server.kill('SIGKILL');
    await server.restart();
    await waitUntil(
      'all are sent',
      async () => {
        const { counts, notices } = await serviceOf(server, 'killed');
        return counts.COMPLETED === users.length && notices.waiting === 0;
      },
      90,
    );
    await waitUntil('all are there', () => new Set(exim.letters().map(({ to }) => to)).size === users.length);
    await waitUntil(
      'there is one id for each',
      () => new Set(exim.letters().map(({ messageId }) => messageId)).size === users.length,
    );
    expect(exim.letters().length).toBeLessThanOrEqual(users.length + 4);
  },
);

test.skipIf(noExim)(
  'a mail server that wants a password gets it over TLS, and only if its certificate is good',
  async () => {
    const exim = await startExim({ isStrict: true });
    onTestFinished(() => exim[Symbol.asyncDispose]());
    const directory = temporaryDirectory({ password: `${MAIL_PASSWORD}\n` });
    const password = path.join(directory, 'password');
    const smtp = [
      '--smtp',
      `smtp://${MAIL_USER}@localhost:${exim.port}`,
      '--smtp-password-file',
      password,
      '--smtp-require-tls',
      ...FROM,
    ];
    expect((await startCommandOnce(smtp)).stderr).toContain(`chmod 600 ${password}`);
    chmodSync(password, 0o600);
    const sends = async (flags: string[], env: Record<string, string>) => {
      const server = await startServerFor(flags, env);
      await host(server, serviceHome(moduleOf('secret')));
      await add(server, 'secret', 'user@example.org');
      return waitUntil('it is sent, or not', async () => {
        const { counts, notices } = await serviceOf(server, 'secret');
        if (notices.lastError !== null) return notices.lastError;
        return counts.COMPLETED === 1 && notices.waiting === 0 && exim.letters().length === 1 && 'sent';
      });
    };
    expect(await sends(smtp, {})).toContain('self-signed certificate');
    expect(await sends(['--smtp', exim.url, ...FROM], {})).toContain('authenticate first');
    expect(await sends(smtp, { NODE_EXTRA_CA_CERTS: exim.certificate })).toBe('sent');
    expect(exim.letters()[0]?.headers).toMatch(/with esmtpsa /);
    expect(exim.log()).toContain(`A=plain:${MAIL_USER}`);
  },
);

const startCommandOnce = async (flags: string[]) => {
  const { startCommand } = await import('../support/running-server.ts');
  return startCommand(['serve', '--data', temporaryDirectory(), '--listen', '127.0.0.1:0', ...flags], {}).done;
};

test('without a mail server mails are kept; the service, its host and its list say so', async () => {
  const server = await startServerFor([]);
  const home = serviceHome(moduleOf('kept'), 'mail: {admin: admin@example.org}\n');
  const first = await host(server, home);
  expect(first.log.lines.map(({ text }) => text).join()).toContain(
    "no SMTP server ('pilotage serve --smtp'): mails of this service will be kept",
  );
  await untilState(server, (await add(server, 'kept', 'user@example.org')).number, 'COMPLETED');
  await untilState(server, (await add(server, 'kept', undefined, 'fail')).number, 'FAILED');
  await waitUntil('two wait', async () => (await serviceOf(server, 'kept')).notices.waiting === 2);
  expect((await server.run(['service', 'list'])).stdout).toContain(
    "2 waiting (this server has no SMTP server ('pilotage serve --smtp'))",
  );
  first.host.stop();
  await first.host.done;
  const running = await startHostProcess(server, home);
  expect(running.stderr()).toContain('2 mails of this service wait: this server has no SMTP server');
  expect(await server.json(['service', 'status', home])).toMatchObject({
    state: 'running',
    notices: { waiting: 2, failed: 0 },
  });
});

test('a web hook that is down, then up, is told of every end, signed', async () => {
  const receiver: HookReceiver = await startHookReceiver();
  onTestFinished(() => receiver.stop());
  await receiver.stop();
  const key = path.join(temporaryDirectory({ key: 'a key of more than 16 characters' }), 'key');
  chmodSync(key, 0o600);
  const server = await startServerFor(['--webhook-key-file', key]);
  const home = serviceHome(moduleOf('hooked'), `webhooks: ['${receiver.url}']\nretention: {archive: 0s, expire: 0s}\n`);
  await host(server, home);
  const [good, bad] = [await add(server, 'hooked'), await add(server, 'hooked', undefined, 'fail')];
  await untilState(server, good.number, 'EXPIRED');
  await untilState(server, bad.number, 'FAILED');
  await waitUntil('it was tried', async () =>
    (await serviceOf(server, 'hooked')).notices.lastError?.includes('ECONNREFUSED'),
  );
  await receiver.start();
  await waitUntil('all is told', async () => (await serviceOf(server, 'hooked')).notices.waiting === 0, 60);
  const events = receiver.received
    .map(({ body }) => JSON.parse(body))
    .map(({ event, job }) => `${event} ${job.number}`);
  expect(events.sort()).toEqual(
    ['completed', 'archived', 'expired']
      .map((end) => `job.${end} ${good.number}`)
      .concat(`job.failed ${bad.number}`)
      .sort(),
  );
  for (const { headers } of receiver.received) expect(headers['x-pilotage-signature']).toMatch(/^sha256=[0-9a-f]{64}$/);
});

test.each([
  ['mail: {admin: nobody}', "'nobody' of 'mail.admin' is no mail address"],
  ['mail: {admin: ["a@x.org,b@x.org"]}', "'a@x.org,b@x.org' of 'mail.admin' is no mail address"],
  ['mail: {admins: a@x.org}', "there is no key of mail 'admins': there are admin, user"],
  ['mail: {user: sometimes}', "'mail.user' has to be true or false"],
  ['mail: a@x.org', "'mail' has to be keys with values"],
  ['webhooks: [ftp://x.org/]', "'ftp://x.org/' of 'webhooks' is no address of the web"],
  ['webhooks: ["https://me:secret@x.org/"]', "a URL of 'webhooks' holds a user or a password"],
  ['webhooks: [{url: x}]', "'webhooks' has to be a text, or a list of texts"],
])('service.yaml with %s is refused with what is wrong', (yaml, message) => {
  const home = serviceHome(moduleOf('refused'), `${yaml}\n`);
  expect(() => readServiceConfig(home)).toThrow(message);
  writeFileSync(path.join(home, 'service.yaml'), 'mail: {admin: a@x.org, user: false}\nwebhooks: https://x.org\n');
  expect(readServiceConfig(home)).toMatchObject({
    mail: { admins: ['a@x.org'], users: false },
    webhooks: ['https://x.org/'],
  });
  expect(readFileSync(path.join(home, 'service.yaml'), 'utf8')).toContain('mail');
});
