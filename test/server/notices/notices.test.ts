import { createHmac } from 'node:crypto';
import { createServer } from 'node:net';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { NOTICED } from '../../../src/server/core/notice.ts';
import type { LinkOf } from '../../../src/server/notices/compose-mail.ts';
import { type NoticesOptions, startNotices } from '../../../src/server/notices/notices.ts';
import type { SmtpSettings } from '../../../src/server/notices/send-mail.ts';
import { DEFAULT_NOTICES, type NoticeSettings } from '../../../src/server/notices/settings.ts';
import { openSqlite } from '../../../src/server/store/sqlite/open-sqlite.ts';
import { type MailServer, missingExim, startExim } from '../../support/exim.ts';
import { startHookReceiver } from '../../support/hook-receiver.ts';
import { memoryLog } from '../../support/memory-log.ts';
import { noticedService, TOLD } from '../../support/noticed-service.ts';
import { type OpenedStore, openStores } from '../../support/open-stores.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { waitUntil } from '../../support/wait-until.ts';

const noExim = missingExim();
const FROM = 'pilotage@example.org';
let exim: MailServer;
beforeAll(async () => {
  if (!noExim) exim = await startExim();
});
afterAll(() => exim?.[Symbol.asyncDispose]());

const smtpOf = (port: number, over: Partial<SmtpSettings> = {}): SmtpSettings => ({
  host: '127.0.0.1',
  port,
  isImplicitTls: false,
  mustBeTls: false,
  from: FROM,
  ...over,
});
/** Short pauses, so that nothing is waited for that is not meant. */
const QUICK: Partial<NoticeSettings> = { firstPauseMs: 50, longestPauseMs: 200, lookMs: 200 };

async function opened(given?: OpenedStore) {
  const directory = temporaryDirectory();
  const store = given?.store ?? (await openSqlite(directory));
  const log = memoryLog();
  const start = (
    over: {
      smtp?: SmtpSettings;
      settings?: Partial<NoticeSettings>;
      key?: string;
      serverId?: string;
      linkOf?: LinkOf;
    } = {},
  ) => {
    const { smtp, settings, key } = over;
    const options: NoticesOptions = {
      store,
      log,
      serverId: over.serverId ?? 'server',
      settings: { ...DEFAULT_NOTICES, ...QUICK, ...settings },
      hooks: { version: 'test', ...(key === undefined ? {} : { key }) },
      linkOf: over.linkOf ?? (({ project, number, uid }) => `https://x.org/${project}/${number}/${uid}`),
      ...(smtp === undefined ? {} : { smtp }),
    };
    const notices = startNotices(options);
    onTestFinished(() => notices.stop());
    return notices;
  };
  onTestFinished(() => (given ? given.close() : store.close()));
  return { store, log, start, directory };
}

const unique = (() => {
  let n = 0;
  return (name: string) => `${name}${++n}@example.org`;
})();

test.skipIf(noExim)('a mail reaches the user, with the link to the results', async () => {
  const { store, start } = await opened();
  start({ smtp: smtpOf(exim.port) });
  const { add, lead } = await noticedService(store, { title: 'Wörter zählen' });
  const to = unique('user');
  const job = await add(to, 'hamlet');
  await lead(job, 'COMPLETED');
  store.tell(NOTICED);
  const [letter] = await waitUntil('the mail is there', () => exim.to(to).length === 1 && exim.to(to));
  expect(letter).toMatchObject({
    subject: 'Wörter zählen: job hamlet is complete',
    text: expect.stringContaining(`https://x.org/noticed/${job.number}/${job.uid}`),
  });
  expect(letter?.headers).toContain('Auto-Submitted: auto-generated');
  expect(letter?.headers).toContain(`From: Pilotage <${FROM}>`);
});

test.skipIf(noExim)('what has long pauses behind it goes at once when the server is started again', async () => {
  const { store, start } = await opened();
  const { add, lead, id } = await noticedService(store);
  const to = unique('paused');
  await lead(await add(to), 'COMPLETED');
  const closed = createServer();
  const port = await new Promise<number>((found) =>
    closed.listen(0, '127.0.0.1', () => found((closed.address() as { port: number }).port)),
  );
  await new Promise((done) => closed.close(done));
  const first = start({ smtp: smtpOf(port), settings: { firstPauseMs: 3_600_000, longestPauseMs: 3_600_000 } });
  await waitUntil('it was tried in vain', async () => (await store.countLetters({ serviceId: id })).lastError);
  await first.stop();
  start({ smtp: smtpOf(exim.port) });
  await waitUntil('the mail is there', () => exim.to(to).length === 1);
});

test.skipIf(noExim)('a mail server that is down gets each mail later and once', async () => {
  const own = await startExim();
  onTestFinished(() => own[Symbol.asyncDispose]());
  await own.stop();
  const { store, start, log } = await opened();
  const { add, lead, id } = await noticedService(store);
  const users = Array.from({ length: 20 }, () => unique('later-user'));
  for (const user of users) await lead(await add(user), 'COMPLETED');
  const first = start({ smtp: smtpOf(own.port) });
  const error = await waitUntil('it is tried', async () => (await store.countLetters({ serviceId: id })).lastError);
  expect(error).toContain('ECONNREFUSED');
  await first.stop();
  start({ smtp: smtpOf(own.port), serverId: 'the next' });
  await own.start();
  await waitUntil('all are sent', async () => (await store.countLetters({ serviceId: id })).waiting === 0);
  await waitUntil('all are there', () => own.letters().length === users.length);
  expect(
    own
      .letters()
      .map(({ to }) => to)
      .sort(),
  ).toEqual([...users].sort());
  expect(new Set(own.letters().map(({ messageId }) => messageId)).size).toBe(users.length);
  expect(log.lines.filter(({ level }) => level === 'error')).toEqual([]);
});

test.skipIf(noExim)('a recipient that is refused is given up at once, one that is put off is tried again', async () => {
  const { store, start, log } = await opened();
  start({ smtp: smtpOf(exim.port) });
  const refused = await noticedService(store);
  await refused.lead(await refused.add('nobody@example.org'), 'COMPLETED');
  await refused.lead(await refused.add('one,two@example.org'), 'COMPLETED');
  const later = await noticedService(store);
  await later.lead(await later.add('later@example.org'), 'COMPLETED');
  store.tell(NOTICED);
  const counts = await waitUntil('they are given up', async () => {
    const found = await store.countLetters({ serviceId: refused.id });
    return found.failed === 2 && found;
  });
  expect(counts).toMatchObject({ waiting: 0, lastError: expect.stringMatching(/550 there is nobody|no mail address/) });
  expect(await store.countLetters({ serviceId: later.id })).toMatchObject({ waiting: 1, failed: 0 });
  await waitUntil(
    'the other is tried again',
    () => log.lines.filter(({ text }) => text.includes('451 come again')).length > 2,
  );
  expect(log.lines.filter(({ text }) => text.includes('was given up'))).toHaveLength(2);
  expect(exim.letters().filter(({ to }) => to.startsWith('two@'))).toEqual([]);
});

test('a mail server that says nothing does not keep a letter for ever, nor the server from ending', async () => {
  const sockets: Array<{ destroy(): void }> = [];
  const mute = createServer((socket) => void sockets.push(socket));
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    mute.close();
  });
  const { store, start } = await opened();
  const { add, lead, id } = await noticedService(store);
  await lead(await add(), 'COMPLETED');
  const { port } = mute.address() as { port: number };
  const notices = start({ smtp: smtpOf(port), settings: { tryMs: 300 } });
  await waitUntil('it is tried again', () => sockets.length > 1, 10);
  expect(await store.countLetters({ serviceId: id })).toMatchObject({ waiting: 1 });
  await notices.stop();
});

test('a web hook is told, with a signature and an id that stays the same at every try', async () => {
  const receiver = await startHookReceiver();
  onTestFinished(() => receiver.stop());
  receiver.answer(500);
  const { store, start } = await opened();
  start({ key: 'the key of the hooks' });
  const { failNew, name, id } = await noticedService(store, { told: { ...TOLD, webhooks: [receiver.url] } });
  const job = await failNew();
  store.tell(NOTICED);
  await waitUntil('it is tried again', () => receiver.received.length > 1);
  expect((await store.countLetters({ serviceId: id })).lastError).toBe(
    `web hook of ${new URL(receiver.url).host}: it answered 500`,
  );
  receiver.answer(200);
  await waitUntil('it is taken', async () => (await store.countLetters({ serviceId: id })).waiting === 1);
  const bodies = new Set(receiver.received.map(({ body }) => body));
  expect(bodies.size).toBe(1);
  const [{ body = '', headers = {} } = {}] = receiver.received;
  expect(JSON.parse(body)).toMatchObject({
    id: headers['x-pilotage-event'],
    event: 'job.failed',
    project: 'noticed',
    service: name,
    job: { number: job.number },
    failure: { hook: 'run', message: 'oh no' },
  });
  expect(headers['x-pilotage-signature']).toBe(
    `sha256=${createHmac('sha256', 'the key of the hooks').update(body).digest('hex')}`,
  );
  expect(new Set(receiver.received.map(({ headers: each }) => each['x-pilotage-event'])).size).toBe(1);
});

test('a web hook that is down, then up, gets all events; another one, which gets them in their order, is not held up', async () => {
  const [down, up] = [await startHookReceiver(), await startHookReceiver()];
  onTestFinished(async () => void (await Promise.all([down.stop(), up.stop()])));
  await down.stop();
  const { store, start } = await opened();
  start();
  const webhooks = [down.url, up.url];
  const { failNew, id } = await noticedService(store, { told: { admins: [], users: true, webhooks } });
  const jobs: string[] = [];
  for (let n = 0; n < 10; n += 1) jobs.push((await failNew()).number);
  store.tell(NOTICED);
  const numbers = (receiver: typeof up) => receiver.received.map(({ body }) => JSON.parse(body).job.number);
  await waitUntil('one has them all', () => up.received.length === jobs.length);
  expect(numbers(up)).toEqual(jobs);
  // What has arrived is noted as such a moment later.
  await waitUntil('its letters are done', async () => (await store.countLetters({ serviceId: id })).waiting === 10);
  expect(await store.countLetters({ serviceId: id })).toMatchObject({
    lastError: expect.stringContaining('ECONNREFUSED'),
  });
  await down.start();
  await waitUntil('the other too', async () => (await store.countLetters({ serviceId: id })).waiting === 0);
  expect([...numbers(down)].sort()).toEqual([...jobs].sort());
});

test('a web hook that never answers holds up no other one', async () => {
  const [mute, up] = [await startHookReceiver(), await startHookReceiver()];
  onTestFinished(async () => void (await Promise.all([mute.stop(), up.stop()])));
  mute.answer('nothing');
  const { store, start } = await opened();
  const webhooks = [mute.url, up.url];
  const { failNew } = await noticedService(store, { told: { admins: [], users: true, webhooks } });
  for (let n = 0; n < 20; n += 1) await failNew();
  start();
  await waitUntil('the other has them all', () => up.received.length === 20, 8);
  expect(mute.received).toHaveLength(1);
});

test('what is written is delivered at once, not at the next look', async () => {
  const receiver = await startHookReceiver();
  onTestFinished(() => receiver.stop());
  const { store, start } = await opened();
  const { failNew } = await noticedService(store, { told: { admins: [], users: true, webhooks: [receiver.url] } });
  await failNew();
  start({ settings: { lookMs: 600_000 } });
  for (let n = 1; n < 4; n += 1) {
    await waitUntil('it is told', () => receiver.received.length === n);
    await failNew();
    store.tell(NOTICED);
  }
});

test('a redirection is not followed, and a receiver that is gone for good is given up', async () => {
  const [from, to] = [await startHookReceiver(), await startHookReceiver()];
  onTestFinished(async () => void (await Promise.all([from.stop(), to.stop()])));
  from.answer(307, { location: to.url });
  const { store, start } = await opened();
  start();
  const { failNew, id } = await noticedService(store, { told: { admins: [], users: true, webhooks: [from.url] } });
  await failNew();
  store.tell(NOTICED);
  await waitUntil('it is tried again', () => from.received.length > 1);
  from.answer(410);
  await waitUntil('it is given up', async () => (await store.countLetters({ serviceId: id })).failed === 1);
  expect(to.received).toEqual([]);
});

test.each(openStores())('two servers of one %s deliver each letter once', async (_name, open) => {
  const receiver = await startHookReceiver();
  onTestFinished(() => receiver.stop());
  const { store, start } = await opened(await open());
  for (const serverId of ['a', 'b']) {
    const lease = { heartbeatMs: 1, leaseMs: 2 };
    await store.startServer({ id: serverId, host: 'h', pid: 1, ticketKey: 'k', lease, aliveWithinMs: 60_000 });
    start({ serverId });
  }
  const webhooks = Array.from({ length: 5 }, (_, n) => `${receiver.url}/${n}`);
  const { failNew, id } = await noticedService(store, { told: { admins: [], users: true, webhooks } });
  for (let n = 0; n < 20; n += 1) {
    await failNew();
    store.tell(NOTICED);
  }
  await waitUntil('all are told', async () => (await store.countLetters({ serviceId: id })).waiting === 0);
  expect(receiver.received).toHaveLength(100);
  expect(new Set(receiver.received.map(({ headers }) => headers['x-pilotage-event'])).size).toBe(100);
});

test('a mail that cannot be written is tried again, and says why', async () => {
  const { store, start } = await opened();
  const { add, lead, id } = await noticedService(store);
  await lead(await add(), 'COMPLETED');
  start({
    smtp: smtpOf(1),
    linkOf: () => {
      throw new Error('the key of links is gone');
    },
  });
  await waitUntil('it says so', async () =>
    (await store.countLetters({ serviceId: id })).lastError?.includes('the key of links'),
  );
  expect(await store.countLetters({ serviceId: id })).toMatchObject({ waiting: 1, failed: 0 });
});

test('without a mail server mails are kept, and sent when there is one', async () => {
  const { store, start } = await opened();
  const notices = start();
  const { failNew, id } = await noticedService(store);
  for (let n = 0; n < 12; n += 1) await failNew();
  store.tell(NOTICED);
  expect(await store.countLetters({ serviceId: id })).toMatchObject({ waiting: 1, waitingMails: 1 });
  await notices.stop();
  if (noExim) return;
  start({ smtp: smtpOf(exim.port), serverId: 'with mail' });
  await waitUntil('it is sent', async () => (await store.countLetters({ serviceId: id })).waiting === 0);
  await waitUntil('it is there', () =>
    exim.to('admin@example.org').some(({ subject }) => subject.endsWith(': 12 jobs FAILED')),
  );
});

test('a host that went silent is missed by a server that was there to hear it; old letters are removed', async () => {
  const { store, start, directory } = await opened();
  const silent = await noticedService(store, { leaseMs: -200_000 });
  const { failNew } = await noticedService(store);
  await failNew();
  start({ smtp: smtpOf(1), settings: { roundMs: 20, silentMs: 100_000, giveUpMs: 0, keepMs: -1000 } });
  const lettersOf = (where: string) => {
    const db = new DatabaseSync(path.join(directory, 'pilotage.db'), { readOnly: true });
    const found = db
      .prepare(`select (select count(*) from letters where ${where}) + (select count(*) from notices) as n`)
      .get();
    db.close();
    return found?.n;
  };
  await waitUntil('the one that was given up is removed', () => lettersOf('true') === 0);
  expect(await store.countLetters({ serviceId: silent.id })).toMatchObject({ waiting: 0 });
  start({ serverId: 'less patient', settings: { roundMs: 20, silentMs: 100 } });
  await waitUntil('it is missed', async () => (await store.countLetters({ serviceId: silent.id })).waiting === 1);
});
