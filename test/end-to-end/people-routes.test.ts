import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JobRecord } from '../../src/ground/protocol/job.ts';
import { PROTOCOL_VERSION } from '../../src/ground/protocol/limits.ts';
import { peerRoutes } from '../../src/ground/protocol/peer-routes.ts';
import type { Route } from '../../src/ground/protocol/route.ts';
import { routes } from '../../src/ground/protocol/routes.ts';
import { adminToken, clientOf, type HandWorker, handWorker, raw } from '../support/api.ts';
import { type RunningServer, startServer } from '../support/running-server.ts';

/** What is in the project of somebody else: texts that must not be seen, and things that must stay as they are. */
const SECRET = 'hush-hush';
const BYTES = Buffer.from(`the bytes of ${SECRET}`);
const DIGEST = createHash('sha256').update(BYTES).digest('hex');
const SERVICE = 'quiet';
/** As bytes of one file it is as good as a list of many. */
const PACK = `[["${DIGEST}",${BYTES.length}]]\n${BYTES}`;
const PASSWORD = 'correct horse';

let server: RunningServer;
let eve: string;
let worker: HandWorker;
let claimed: { task: string; attempt: number };
const made = { submission: 0, open: 0, failed: 0, job: '', token: 0, record: {} as JobRecord };

beforeAll(async () => {
  server = await startServer();
  const admin = clientOf(server);
  const call = admin.call;
  for (const name of ['eve', 'bob']) await call(routes.addUser, { body: { name, password: PASSWORD } });
  eve = (await call(routes.login, { body: { user: 'eve', password: PASSWORD } })).token;
  await call(routes.createProject, { body: { name: SECRET } });
  await call(routes.grantProject, { params: { project: SECRET, user: 'bob' } });
  const submit = async (over: object) => {
    const steps = [{ name: SECRET, spec: { command: ['echo', SECRET], ...over } }];
    return (await call(routes.submit, { body: { project: SECRET, steps } })).submissions[0]?.id ?? 0;
  };
  await call(routes.putBlob, { params: { project: SECRET, digest: DIGEST }, raw: BYTES });
  const running = await submit({});
  worker = await handWorker(admin, 'its-worker');
  const claim = (await worker.exchange({ most: 1 })).claims[0];
  claimed = { task: claim?.task ?? '', attempt: claim?.attempt ?? 0 };
  expect(claimed.task).toBe(`${running}.1`);
  made.submission = await submit({});
  made.failed = await submit({});
  await call(routes.cancel, { body: { targets: [String(made.failed)] } });
  const opened = { project: SECRET, open: true, steps: [{ spec: { command: ['true'] }, items: [{}] }] };
  made.open = (await call(routes.submit, { body: opened })).submissions[0]?.id ?? 0;
  const body = { spec: { command: ['true'], site: { name: 'cluster' } } };
  made.job = (await call(routes.createJob, { params: { project: SECRET }, body })).number;
  made.record = await call(routes.jobRecord, { params: { project: SECRET, number: made.job } });
  const at = { project: SECRET, service: SERVICE };
  await call(routes.hostService, { params: at, body: HOST });
  await call(routes.createServiceJob, { params: at, body: { parameters: {} } });
  const token = { name: SECRET, scopes: ['read' as const] };
  made.token = (await call(routes.createToken, { body: token })).id;
  const plan = { max: 1, slots: 1, wallTimeSeconds: 60, untilIdleSeconds: 60, projects: [SECRET] };
  await call(routes.setPilots, { params: { site: 'nowhere' }, body: plan });
  admin.close();
});
afterAll(() => server[Symbol.asyncDispose]());

const HOST = {
  ...{ host: { host: 'h', pid: 1, process: 'p', version: 'test' }, title: SECRET, parameters: {}, incoming: null },
  ...{ archiveSeconds: null, expireSeconds: null },
};
const TOTAL = { cpus: 1, memory: 0, gpus: 0, named: {} };
const registration = () => ({
  ...{ protocol: PROTOCOL_VERSION, version: 'test', name: 'eves', host: 'h', pid: 1, zone: null, total: TOTAL },
  ...{ labels: {}, kinds: ['command'], remainingSeconds: null, projects: [SECRET] },
});
const exchange = {
  ...{ number: 99, held: [], reports: [], free: TOTAL, maxClaims: 1, waitSeconds: 0 },
};
const session = { 'x-pilotage-session': 'guess' };
const one = () => String(made.submission);

interface Try {
  /** The status of the answer; 'own': she gets one, and nothing of the project is in it. */
  readonly expect: number | 'own';
  readonly id?: () => string;
  readonly query?: string;
  readonly body?: () => unknown;
  readonly bytes?: true;
  readonly headers?: Record<string, string>;
}

const all = { ...routes, ...peerRoutes };
type All = typeof all;
const COPY = '00000000-0000-4000-8000-000000000000';

/** Every route is in it, or this does not compile: whoever adds one decides what a regular user may do there. */
const TRIES: { readonly [Name in keyof All]: Try } = {
  status: { query: `?project=${SECRET}`, expect: 404 },
  submit: { body: () => ({ project: SECRET, steps: [{ spec: { command: ['true'] } }] }), expect: 404 },
  addItems: { id: () => String(made.open), body: () => ({ offset: 1, items: [{}] }), expect: 404 },
  closeSubmission: { id: () => String(made.open), expect: 404 },
  submission: { id: one, expect: 404 },
  submissions: { query: `?project=${SECRET}`, expect: 404 },
  tasks: { query: `?project=${SECRET}`, expect: 404 },
  task: { id: one, expect: 404 },
  why: { id: one, expect: 404 },
  logs: { id: one, expect: 404 },
  results: { id: one, expect: 404 },
  cancel: { body: () => ({ targets: [one()] }), expect: 404 },
  retry: { body: () => ({ targets: [String(made.failed)] }), expect: 404 },
  forget: { body: () => ({ targets: [String(made.failed)] }), expect: 404 },
  acceptLate: { id: () => `${made.failed}.1`, body: () => ({}), expect: 404 },
  createJob: { body: () => ({ spec: { command: ['true'], site: { name: 'cluster' } } }), expect: 404 },
  jobs: { expect: 404 },
  job: { expect: 404 },
  jobProcesses: { expect: 404 },
  jobRecord: { expect: 404 },
  mergeRecord: { body: () => made.record, expect: 404 },
  services: { expect: 404 },
  service: { expect: 404 },
  createServiceJob: { body: () => ({ parameters: {} }), expect: 404 },
  serviceForm: { expect: 404 },
  serviceQueue: { expect: 404 },
  link: { expect: 404 },
  linkResults: { expect: 404 },
  linkFile: { expect: 404 },
  linkZip: { expect: 404 },
  linkLog: { expect: 404 },
  cancelLink: { expect: 404 },
  wishJobs: { body: () => ({ wish: 'cancel', service: SERVICE }), expect: 404 },
  nudgeService: { expect: 404 },
  hostService: { body: () => HOST, expect: 404 },
  pollService: { body: () => ({ after: 0, nudged: 0, waitSeconds: 0 }), headers: session, expect: 404 },
  changeServiceJobs: { body: () => ({ changes: [] }), headers: session, expect: 404 },
  knownServiceJobs: { body: () => ({ jobs: ['1'] }), headers: session, expect: 404 },
  leaveService: { body: () => ({}), headers: session, expect: 404 },
  workers: { expect: 'own' },
  register: { body: registration, expect: 404 },
  exchange: { body: () => exchange, headers: session, expect: 410 },
  leave: { headers: session, expect: 410 },
  // Whether the files are there is not told either.
  checkpoint: {
    body: () => ({
      ...claimed,
      secret: 'guess',
      number: 1,
      files: [{ name: 'a', kind: 'file', digest: 'f'.repeat(64), size: 1 }],
    }),
    expect: 'own',
  },
  source: { body: () => ({ project: SECRET, digest: DIGEST }), headers: session, expect: 404 },
  holds: { body: () => ({ add: [DIGEST], remove: [] }), headers: session, expect: 410 },
  ticketKeys: { expect: 'own' },
  drainWorkers: { body: () => ({ all: true }), expect: 403 },
  stopWorkers: { body: () => ({ all: true }), expect: 403 },
  pilots: { expect: 'own' },
  setPilots: {
    body: () => ({ max: 0, slots: 1, wallTimeSeconds: 60, untilIdleSeconds: 60 }),
    expect: 403,
  },
  pausePilots: { body: () => ({ paused: true }), expect: 403 },
  removePilots: { expect: 403 },
  projects: { expect: 'own' },
  // That a name is taken cannot be hidden from whoever wants to take it.
  createProject: { body: () => ({ name: SECRET }), expect: 409 },
  projectUsage: { expect: 404 },
  setProjectLimit: { body: () => ({ running: null }), expect: 403 },
  setShare: { body: () => ({ weight: 2 }), expect: 403 },
  usage: { expect: 'own' },
  setQuota: { body: () => ({ bytes: 0 }), expect: 403 },
  setTokenLimits: { body: () => ({ maxScrubs: 1 }), expect: 404 },
  makeCredentials: { expect: 403 },
  missingBlobs: { body: () => ({ digests: [DIGEST] }), expect: 404 },
  putBlob: { bytes: true, expect: 404 },
  putBlobs: { bytes: true, expect: 404 },
  uploadState: { expect: 404 },
  getBlob: { expect: 404 },
  tokens: { expect: 'own' },
  createToken: { body: () => ({ name: 'x', scopes: ['read'], projects: [SECRET] }), expect: 404 },
  revokeToken: { id: () => String(made.token), expect: 404 },
  login: { body: () => ({ user: 'bob', password: 'not it' }), expect: 401 },
  logout: { expect: 'own' },
  whoami: { expect: 'own' },
  users: { expect: 403 },
  addUser: { body: () => ({ name: 'mallory', password: PASSWORD, role: 'administrator' }), expect: 403 },
  removeUser: { expect: 403 },
  setRole: { body: () => ({ role: 'administrator' }), expect: 403 },
  setPassword: { body: () => ({ password: 'battery staple', current: PASSWORD }), expect: 403 },
  projectMembers: { expect: 404 },
  grantProject: { expect: 404 },
  revokeProject: { expect: 404 },
  transferProject: { body: () => ({ to: 'eve' }), expect: 404 },
  audit: { expect: 403 },
  stopServer: { expect: 403 },
  startBackup: { expect: 403 },
  startExport: { expect: 404 },
  copyDatabase: { id: () => COPY, expect: 410 },
  copyBlob: { id: () => COPY, expect: 410 },
  copyIdentity: { id: () => COPY, expect: 410 },
  // Also of one that never was: it is over.
  endCopy: { id: () => COPY, expect: 'own' },
  startImport: { body: () => ({ project: 'mine' }), expect: 403 },
  importRows: { id: () => COPY, query: '?project=mine', bytes: true, expect: 403 },
  endImport: { id: () => COPY, expect: 403 },
  peers: { expect: 403 },
  peer: { expect: 403 },
  connectPeer: { body: () => ({ host: '127.0.0.1', port: 1 }), expect: 403 },
  trustPeer: { expect: 403 },
  revokePeer: { expect: 403 },
  setPeerPriority: { body: () => ({ priority: 0 }), expect: 403 },
  setPeerTerms: { body: () => ({}), expect: 403 },
  pingPeer: { expect: 403 },
  introduce: {
    body: () => ({ protocol: 1, version: '1', name: 'eve', certificate: 'none', places: [] }),
    expect: 400,
  },
};

function addressOf(name: keyof All, { id, query = '' }: Try): string {
  const values: Record<string, string> = {
    ...{
      project: SECRET,
      id: id?.() ?? '1',
      number: made.job,
      service: SERVICE,
      digest: DIGEST,
      upload: 'u'.repeat(16),
    },
    ...{ session: name.endsWith('Service') || name.endsWith('Jobs') ? '1' : worker.session.session, site: 'nowhere' },
    ...{ user: 'bob', peer: 'somebody', secret: 'guessguessguessguessguess', task: '1.1' },
  };
  const { path } = all[name] as Route;
  return `/api/v1${path.replace(/:(\w+)/g, (_, key: string) => values[key] ?? '').replace('*', 'x')}${query}`;
}

/** All that an administrator sees of it. */
async function look(): Promise<string> {
  const token = adminToken(server);
  const at = `projects/${SECRET}`;
  const paths = [
    'projects',
    `tasks?project=${SECRET}`,
    `submissions?project=${SECRET}`,
    'workers',
    'pilots',
    'users',
    'tokens',
  ];
  const own = ['members', 'usage', 'jobs', 'services', `jobs/${made.job}/record`].map((path) => `${at}/${path}`);
  const texts = [...paths, ...own].map(async (path) => (await raw(server, `GET /api/v1/${path}`, { token })).text);
  return (await Promise.all(texts))
    .join('\n')
    .replace(/"(now|lastSeenAt|leaseUntil|expiresAt|startedAt)":"[^"]*"/g, '');
}

function ask(name: keyof All, token: string) {
  const one = TRIES[name];
  const { method } = all[name] as Route;
  const json = one.body ? { body: JSON.stringify(one.body()) } : one.bytes ? { body: PACK } : {};
  const headers = { ...one.headers, ...(one.bytes ? { 'content-type': 'application/octet-stream' } : {}) };
  return raw(server, `${method} ${addressOf(name, one)}`, { token, ...json, headers });
}

test('a regular user without a grant reads and changes nothing of a project, by no route', async () => {
  const before = await look();
  expect(before).toContain(SECRET);
  const names = (Object.keys(TRIES) as (keyof All)[]).filter((name) => name !== 'logout');
  for (const name of names) {
    const one = TRIES[name];
    const answer = await ask(name, eve);
    const isAsExpected = one.expect === 'own' ? answer.status < 300 : answer.status === one.expect;
    expect([name, isAsExpected ? one.expect : `${answer.status} ${answer.text}`]).toEqual([name, one.expect]);
    // An answer may repeat the name that was asked for, and nothing else.
    if (one.expect === 'own') expect([name, answer.text.includes(SECRET)]).toEqual([name, false]);
    expect([name, answer.text.includes(DIGEST)]).toEqual([name, false]);
  }
  expect(await look()).toBe(before);
  expect((await raw(server, `POST /api/v1${routes.logout.path}`, { token: eve })).status).toBe(204);
});

test('a token that administrates another project reads and changes nothing of it, nor of what all projects share', async () => {
  const facts = { name: 'other-admin', scopes: ['admin' as const], projects: ['default'] };
  const { token } = await clientOf(server).call(routes.createToken, { body: facts });
  const before = await look();
  const names = (Object.keys(TRIES) as (keyof All)[]).filter((name) => name !== 'logout');
  for (const name of names) {
    const answer = await ask(name, token);
    if (TRIES[name].expect === 'own') expect([name, answer.text.includes(SECRET)]).toEqual([name, false]);
    else expect([name, answer.status >= 400]).toEqual([name, true]);
    expect([name, answer.text.includes(DIGEST)]).toEqual([name, false]);
  }
  expect(await look()).toBe(before);
  const stop = (await raw(server, 'POST /api/v1/workers/stop', { token, body: '{"all":true}' })).json();
  expect(stop).toMatchObject({ code: 'forbidden', detail: expect.stringContaining('for some projects only') });
  expect((await ask('makeCredentials', token)).status).toBe(403);
});

test('lists hold nothing of it where no project is named', async () => {
  const user = { user: 'eve', password: PASSWORD };
  const { token } = await clientOf(server).call(routes.login, { body: user });
  for (const path of ['status', 'tasks', 'submissions', 'projects', 'workers', 'pilots', 'tokens'])
    expect([path, (await raw(server, `GET /api/v1/${path}`, { token })).text.includes(SECRET)]).toEqual([path, false]);
  const status = (await raw(server, 'GET /api/v1/status', { token })).json();
  expect(status).toMatchObject({ submissions: 0, counts: { queued: 0, running: 0, cancelled: 0 } });
  const metrics = (await raw(server, 'GET /metrics', { token })).text;
  expect(metrics).toMatch(/state="queued"\} 0/);
  for (const what of ['cancel', 'retry'])
    await raw(server, `POST /api/v1/tasks/${what}`, { token, body: '{"all":true}' });
  await raw(server, 'POST /api/v1/submissions/forget', { token, body: '{"all":true}' });
  const tasks = (await raw(server, `GET /api/v1/tasks?project=${SECRET}`, { token: adminToken(server) })).json().tasks;
  expect(tasks.map(({ state }: { state: string }) => state).sort()).toContain('queued');
});

test('a member does all of that', async () => {
  const user = { user: 'bob', password: PASSWORD };
  const bob = (await clientOf(server).call(routes.login, { body: user })).token;
  const client = clientOf(server, bob);
  expect((await client.call(routes.whoami)).projects).toEqual([SECRET]);
  expect((await client.call(routes.task, { params: { id: one() } })).name).toBe(SECRET);
  const submitted = await client.call(routes.submit, { body: { steps: [{ spec: { command: ['true'] } }] } });
  expect(submitted.submissions[0]?.project).toBe(SECRET);
  expect((await client.call(routes.cancel, { body: { targets: [one()] } })).changed).toBe(1);
  expect((await client.call(routes.jobs, { params: { project: SECRET } })).jobs.length).toBeGreaterThan(0);
  const { projects: _all, ...body } = { ...registration(), kinds: ['command' as const] };
  expect((await client.call(routes.register, { body })).session).toBeTruthy();
});
