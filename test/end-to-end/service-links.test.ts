import { createHash } from 'node:crypto';
import { chmodSync, existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { routes } from '../../src/ground/protocol/routes.ts';
import { adminToken, clientOf, raw } from '../support/api.ts';
import { type RunningServer, startServer } from '../support/running-server.ts';
import { serviceHome } from '../support/service-home.ts';
import { startHostProcess } from '../support/service-process.ts';
import { smallDisk } from '../support/small-disk.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

let server: RunningServer;
beforeAll(async () => {
  server = await startServer(['--workers', '1']);
});
afterAll(() => server[Symbol.asyncDispose]());

/** Takes files, counts their letters on the pool, and waits while a file 'hold' lies in the service's directory. */
const COUNT = (name: string, more = '') => `
import { existsSync } from 'node:fs';
import { defineService, File, Files, nothing, pool, Type } from 'pilotage/service';
export default defineService({
  name: '${name}', title: 'Counting & <more>',
  parameters: Type.Object({
    texts: Files({ accept: ['.txt'], minItems: 1, maxItems: 3, maxBytes: 100_000 }),
    extra: Type.Optional(File({ maxBytes: 1000 })),
    factor: Type.Integer({ title: 'How often', default: 2, minimum: 1, maximum: 9 }),
    loud: Type.Boolean({ default: false }),
    tags: Type.Array(Type.String(), { default: [] }),
  }, { additionalProperties: false }),
  log: () => ({ level: 'info' }),
  preprocess(job) { job.logger.info('texts: ' + job.parameters.texts.join(', ')); },
  run: () => pool({ command: ['sh', '-c', 'cat *.txt | wc -c > count; echo counted'], outputs: ['count'] }),
  ${more}
});
`;

interface Sent {
  readonly status: number;
  readonly body: { number: string; link: string; secret: string; detail: string; code: string };
}

const at = (service: string): string => `${server.url()}/api/v1/projects/default/services/${service}/jobs`;

/** A form as a browser sends it: texts, and files as [name, content]. */
async function post(
  service: string,
  fields: Readonly<Record<string, string | string[]>>,
  files: Readonly<Record<string, readonly (readonly [string, string | Uint8Array<ArrayBuffer>])[]>> = {},
  token = adminToken(server),
): Promise<Sent> {
  const form = new FormData();
  for (const [name, texts] of Object.entries(fields)) for (const text of [texts].flat()) form.append(name, text);
  for (const [name, some] of Object.entries(files))
    for (const [file, content] of some) form.append(name, new Blob([content]), file);
  const answer = await fetch(at(service), {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: form,
  });
  return { status: answer.status, body: (await answer.json()) as Sent['body'] };
}

const apiOf = (link: string): string => new URL(link).pathname.replace(/^\/jobs\//, '/api/v1/links/');
const look = (link: string, what = '') => raw(server, `GET ${apiOf(link)}${what}`);
const complete = (link: string) =>
  waitUntil('the results are there', async () => {
    const answer = await look(link, '/results');
    return answer.status === 200 && answer;
  });
const countJobs = async (service: string): Promise<number> => {
  const { counts } = await clientOf(server).call(routes.serviceQueue, { params: { project: 'default', service } });
  return Object.values(counts).reduce((sum, n) => sum + n, 0);
};
const tokenOf = async (scope: 'front' | 'read'): Promise<string> => {
  const body = { name: `a-${scope}`, scopes: [scope], projects: ['default'] };
  return (await clientOf(server).call(routes.createToken, { body })).token;
};

test('a form with files becomes a job: the files lie in its directory, texts have the types of the schema', async () => {
  await startHostProcess(server, serviceHome(COUNT('forms')));
  const texts = [
    ['a.txt', 'alpha'],
    ['b c ü.txt', 'beta'],
  ] as const;
  const fields = { factor: '3', loud: 'on', tags: ['x', 'y'], 'job.name': 'of two', 'job.contact': 'me@example.org' };
  const { status, body } = await post('forms', fields, { texts });
  expect(status).toBe(201);
  expect((await complete(body.link)).json()).toEqual({
    bytes: 11,
    files: [
      { path: 'a.txt', size: 5 },
      { path: 'b c ü.txt', size: 4 },
      { path: 'count', size: 2 },
    ],
    until: null,
  });
  const job = await clientOf(server).call(routes.job, { params: { project: 'default', number: body.number } });
  expect(job.name).toBe('of two');
  expect(job.serviceJob).toMatchObject({
    contact: 'me@example.org',
    link: body.link,
    parameters: { texts: ['a.txt', 'b c ü.txt'], factor: 3, loud: true, tags: ['x', 'y'] },
  });
});

test('the link shows the job: its log, its tasks with what they write, and each result; no token is needed', async () => {
  await startHostProcess(server, serviceHome(COUNT('shown')));
  const { body } = await post('shown', {}, { texts: [['a.txt', 'alpha']] });
  await complete(body.link);
  const view = (await look(body.link)).json();
  expect(view).toMatchObject({
    state: 'COMPLETED',
    title: 'Counting & <more>',
    parameters: { texts: ['a.txt'], factor: 2 },
    labels: expect.arrayContaining([{ name: 'factor', label: 'How often' }]),
    results: { files: 2, bytes: 7, until: null },
    retryAfterSeconds: null,
    tasks: [{ state: 'succeeded', exitCode: 0 }],
  });
  expect(view.log).toContain('INFO texts: a.txt');
  expect((await look(body.link, `/logs/${view.tasks[0].id}`)).text).toBe('counted\n');
  const file = await look(body.link, '/files/count');
  expect(file.text).toBe('5\n');
  expect(file.headers.get('content-disposition')).toContain('attachment; filename="count"');
  expect(file.headers.get('x-content-type-options')).toBe('nosniff');
  expect(file.headers.get('cache-control')).toBe('no-store');
  const rest = await raw(server, `GET ${apiOf(body.link)}/files/a.txt`, { headers: { range: 'bytes=3-' } });
  expect([rest.status, rest.text]).toEqual([206, 'ha']);
  const beyond = await raw(server, `GET ${apiOf(body.link)}/files/a.txt`, {
    headers: { range: `bytes=${'9'.repeat(20)}-` },
  });
  expect([beyond.status, beyond.text]).toEqual([200, 'alpha']);
  const zip = await fetch(`${server.url()}${apiOf(body.link)}/results.zip`);
  expect(
    Buffer.from(await zip.arrayBuffer())
      .subarray(0, 2)
      .toString(),
  ).toBe('PK');
  expect((await look(body.link, '/files/..%2f..%2fetc%2fpasswd')).status).toBe(404);
  expect((await look(body.link, '/files/framework.log')).status).toBe(404);
  expect((await look(body.link, '/logs/99.1')).status).toBe(404);
});

test('a wrong secret, an unknown job and an unknown project get one answer, letter for letter', async () => {
  await startHostProcess(server, serviceHome(COUNT('secret')));
  const { body } = await post('secret', {}, { texts: [['a.txt', 'alpha']] });
  await complete(body.link);
  const right = apiOf(body.link);
  const wrong = `${right.slice(0, -1)}${right.endsWith('A') ? 'B' : 'A'}`;
  const unknown = right.replace(`/${body.number}/`, '/999999/');
  const elsewhere = right.replace('/default/', '/elsewhere/');
  for (const what of ['', '/results', '/files/count', '/results.zip']) {
    const answers = await Promise.all([wrong, unknown, elsewhere].map((where) => raw(server, `GET ${where}${what}`)));
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
    expect(answers[0]?.status).toBe(404);
  }
  expect((await raw(server, `POST ${wrong}/cancel`)).status).toBe(404);
  // Every job has a secret of its own.
  const other = await post('secret', {}, { texts: [['a.txt', 'alpha']] });
  expect(other.body.secret).not.toBe(body.secret);
});

test('the answer to a wrong secret takes as long as that to an unknown job', async () => {
  await startHostProcess(server, serviceHome(COUNT('timing')));
  const { body } = await post('timing', {}, { texts: [['a.txt', 'alpha']] });
  const right = apiOf(body.link);
  const wrong = `${right.slice(0, -4)}AAAA`;
  const unknown = wrong.replace(`/${body.number}/`, '/999999/');
  const times: Record<string, number[]> = { [wrong]: [], [unknown]: [] };
  for (let round = 0; round < 400; round += 1)
    for (const where of round % 2 === 0 ? [wrong, unknown] : [unknown, wrong]) {
      const begun = performance.now();
      await raw(server, `GET ${where}`);
      times[where]?.push(performance.now() - begun);
    }
  // The quickest tenth: what else the machine does is not in it.
  const quick = (of: string): number => [...(times[of] ?? [])].sort((a, b) => a - b)[40] ?? 0;
  expect(Math.abs(quick(wrong) - quick(unknown))).toBeLessThan(0.25 * Math.max(quick(wrong), quick(unknown)));
});

test('results are not ready (503, with when to come back), there (200), and gone (410) once they are archived', async () => {
  const home = serviceHome(
    COUNT('stages').replace('run: () =>', "run: () => existsSync('../../go') ? nothing() :"),
    'retention: { archive: 2s, expire: 4s }\n',
  );
  const host = await startHostProcess(server, home);
  host.child.kill('SIGSTOP');
  const { body } = await post('stages', {}, { texts: [['a.txt', 'alpha']] });
  const early = await look(body.link, '/results');
  expect(early.status).toBe(503);
  expect(Number(early.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  expect(early.json()).toMatchObject({
    code: 'not-ready',
    detail: 'The job is not finished: its results will be here.',
  });
  expect((await look(body.link)).json()).toMatchObject({ state: 'INCOMING', results: null });
  host.child.kill('SIGCONT');
  await complete(body.link);
  expect((await look(body.link)).json().results.until).toMatch(/^\d{4}-/);
  const gone = await waitUntil('the results are gone', async () => {
    const answer = await look(body.link, '/results');
    return answer.status === 410 && answer;
  });
  expect(gone.json().code).toBe('gone');
  expect((await look(body.link, '/files/count')).status).toBe(410);
  const expired = await waitUntil('it is expired', async () => {
    const view = (await look(body.link)).json();
    return view.state === 'EXPIRED' && view;
  });
  expect(expired).toMatchObject({ results: null, message: 'The results were removed after their time.' });
});

test('a failed job says so without its inner life, and is looked at again after it was resubmitted', async () => {
  const home = serviceHome(
    COUNT('failing', "finalize() { if (!existsSync('mended')) throw new Error('secret of the house'); },"),
  );
  await startHostProcess(server, home);
  const { body } = await post('failing', {}, { texts: [['a.txt', 'alpha']] });
  const failed = await waitUntil('it failed', async () => {
    const view = (await look(body.link)).json();
    return view.state === 'FAILED' && view;
  });
  // Neither what it threw nor where: not in its log either, which says that it failed.
  expect(JSON.stringify(failed)).not.toMatch(/secret of the house|service\.ts/);
  expect(failed.log).toMatch(/INFO texts: a\.txt\n\S+ ERROR finalize failed$/);
  expect((await look(body.link, '/results')).status).toBe(503);
  const { serviceJob } = await clientOf(server).call(routes.job, {
    params: { project: 'default', number: body.number },
  });
  writeFileSync(path.join(serviceJob?.directory ?? '', 'mended'), '');
  await clientOf(server).call(routes.wishJobs, {
    params: { project: 'default' },
    body: { wish: 'resubmit', jobs: [body.number] },
  });
  await complete(body.link);
});

test('whoever has the link can cancel the job, once', async () => {
  const home = serviceHome(COUNT('cancelled').replace("'cat *.txt | wc -c > count; echo counted'", "'sleep 600'"));
  await startHostProcess(server, home);
  const { body } = await post('cancelled', {}, { texts: [['a.txt', 'alpha']] });
  await waitUntil('it runs', async () => {
    const view = (await look(body.link)).json();
    expect(view).toMatchObject({ tasks: expect.anything() });
    return view.tasks[0]?.state === 'running';
  });
  expect((await raw(server, `POST ${apiOf(body.link)}/cancel`)).status).toBe(204);
  await waitUntil('it is cancelled', async () => (await look(body.link)).json().state === 'CANCELLED');
  expect((await look(body.link, '/results')).status).toBe(410);
  const again = await raw(server, `POST ${apiOf(body.link)}/cancel`);
  expect([again.status, again.json().code]).toEqual([409, 'wrong-state']);
});

const ONE = [['a.txt', 'alpha']] as const;

test.each([
  ['a name with a path', {}, { texts: [['../../etc/x.txt', 'x']] }, "a name has no '/'"],
  ['a name with a backslash', {}, { texts: [['..\\x.txt', 'x']] }, "a name has no '/' and no '\\'"],
  ['a hidden name', {}, { texts: [['.x.txt', 'x']] }, "begins with neither '.' nor '-'"],
  ['a name like an option', {}, { texts: [['-rf.txt', 'x']] }, "begins with neither '.' nor '-'"],
  ['a name that turns the text round', {}, { texts: [['\u202etxt.exe.txt', 'x']] }, 'invisible characters'],
  ['a very long name', {}, { texts: [[`${'n'.repeat(250)}.txt`, 'x']] }, 'longer than 200 bytes'],
  ['the name of the log', {}, { texts: ONE, extra: [['framework.log', 'x']] }, 'name of the log'],
  ['another ending', {}, { texts: [['a.exe', 'x']] }, "'a.exe' is no file for 'texts', which takes .txt"],
  ['the same name twice', {}, { texts: ONE, extra: [['a.txt', 'x']] }, "there are two files 'a.txt'"],
  ['too many files', {}, { texts: [1, 2, 3, 4].map((n) => [`${n}.txt`, 'x'] as const) }, "'texts'"],
  [
    'two files where one is taken',
    {},
    {
      texts: ONE,
      extra: [
        ['x', '1'],
        ['y', '2'],
      ],
    },
    "'extra' takes one file",
  ],
  ['a file for no parameter', {}, { texts: ONE, other: [['x', '1']] }, "the parameter 'other' takes no file"],
  ['a file for a text', {}, { texts: ONE, factor: [['x', '1']] }, "the parameter 'factor' takes no file"],
  ['no file', {}, {}, "'texts' is missing"],
  ['a file that is only named', { texts: 'a.txt' }, {}, "names a file 'a.txt', which did not come"],
  ['a number that is none', { factor: 'many' }, { texts: ONE }, "'factor' must be integer"],
  ['a number out of its range', { factor: '10' }, { texts: ONE }, "'factor' must be <= 9"],
  ['a parameter that is unknown', { colour: 'red' }, { texts: ONE }, "there is no parameter 'colour'"],
  ['a parameter of the object itself', { __proto__x: '1', constructor: '1' }, { texts: ONE }, 'there is no parameter'],
  ['one value too many', { factor: ['1', '2'] }, { texts: ONE }, "'factor' was given 2 times"],
] as const)('%s is refused, says why, and adds nothing', async (what, fields, files, says) => {
  const service = 'refusing';
  if (
    !(await clientOf(server).call(routes.services, { params: { project: 'default' } })).some(
      ({ name }) => name === service,
    )
  )
    await startHostProcess(server, serviceHome(COUNT(service)));
  const { status, body } = await post(service, fields as never, files as never);
  expect([status, body.code], what).toEqual([400, 'bad-request']);
  expect(body.detail).toContain(says);
  expect(body.detail).toMatch(/nothing was added|takes one value/i);
  expect(await countJobs(service)).toBe(0);
  expect(readdirSync(path.join(server.data, 'forms'))).toEqual([]);
});

test('a file over its size is refused while it arrives, with an answer that can be read', async () => {
  await startHostProcess(server, serviceHome(COUNT('large')));
  const { status, body } = await post('large', {}, { texts: [['a.txt', new Uint8Array(30_000_000)]] });
  expect([status, body.code]).toEqual([413, 'body-too-large']);
  expect(body.detail).toContain("'a.txt' is too large: a file for 'texts' may have");
  expect(await countJobs('large')).toBe(0);
  expect(readdirSync(path.join(server.data, 'forms'))).toEqual([]);
});

test('an upload that breaks off in the middle of a file leaves nothing: no job, no bytes', async () => {
  await startHostProcess(server, serviceHome(COUNT('broken')));
  const { hostname, port, pathname } = new URL(at('broken'));
  const head = [
    `POST ${pathname} HTTP/1.1`,
    `Host: ${hostname}`,
    `Authorization: Bearer ${adminToken(server)}`,
    'Content-Type: multipart/form-data; boundary=cut',
    'Content-Length: 90000',
  ].join('\r\n');
  const part = '--cut\r\nContent-Disposition: form-data; name="texts"; filename="a.txt"\r\n\r\n';
  const socket = connect(Number(port), hostname);
  socket.write(`${head}\r\n\r\n${part}${'x'.repeat(40_000)}`);
  const forms = (): string[] => readdirSync(path.join(server.data, 'forms'), { recursive: true }) as string[];
  await waitUntil('some of the file has come', () => forms().length > 1);
  socket.destroy();
  await waitUntil('nothing is left of it', () => forms().length === 0);
  expect(await countJobs('broken')).toBe(0);
});

test.each([
  ['no boundary', 'multipart/form-data', 'x'],
  ['no end', 'multipart/form-data; boundary=b', '--b\r\nContent-Disposition: form-data; name="factor"\r\n\r\n1'],
  ['rubbish', 'multipart/form-data; boundary=b', 'rubbish'],
])('a form with %s is refused', async (_what, type, body) => {
  const service = 'rubbish';
  if (
    !(await clientOf(server).call(routes.services, { params: { project: 'default' } })).some(
      ({ name }) => name === service,
    )
  )
    await startHostProcess(server, serviceHome(COUNT(service)));
  const answer = await fetch(at(service), {
    method: 'POST',
    headers: { authorization: `Bearer ${adminToken(server)}`, 'content-type': type },
    body,
  });
  expect(answer.status).toBe(400);
  expect(await countJobs(service)).toBe(0);
});

test('a form to anything else than a service is refused as before', async () => {
  const body = new FormData();
  body.append('x', 'y');
  const headers = { authorization: `Bearer ${adminToken(server)}` };
  const answer = await fetch(`${server.url()}/api/v1/submissions`, { method: 'POST', headers, body });
  expect([answer.status, ((await answer.json()) as { detail: string }).detail]).toEqual([
    400,
    'the request must be JSON, with the header Content-Type: application/json',
  ]);
});

test('a request that is repeated is the same job with the same link', async () => {
  await startHostProcess(server, serviceHome(COUNT('repeated')));
  const fields = { 'job.requestId': 'a-request-that-nobody-else-makes' };
  const first = await post('repeated', fields, { texts: ONE });
  const second = await post('repeated', fields, { texts: ONE });
  expect(second.body).toEqual(first.body);
  expect(await countJobs('repeated')).toBe(1);
});

test('a token of scope front adds jobs and sees form and queue, without names; it can do nothing else', async () => {
  await startHostProcess(server, serviceHome(COUNT('open')));
  const front = await tokenOf('front');
  const project = '/api/v1/projects/default';
  await post('open', { 'job.name': 'mine alone' }, { texts: ONE });
  const { status } = await post('open', {}, { texts: ONE }, front);
  expect(status).toBe(201);
  const form = await raw(server, `GET ${project}/services/open/form`, { token: front });
  expect(form.json()).toMatchObject({ name: 'open', title: 'Counting & <more>', hosted: true });
  const queue = await raw(server, `GET ${project}/services/open/queue`, { token: front });
  const told = ({ name, secret }: { name: unknown; secret: unknown }) => [name, secret];
  expect(queue.json().jobs.map(told)).toEqual([
    [null, null],
    [null, null],
  ]);
  expect((await raw(server, `GET ${project}/services/open/queue`, { token: await tokenOf('read') })).text).toContain(
    'mine alone',
  );
  const forbidden = [
    'GET /api/v1/tasks',
    `GET ${project}/jobs`,
    `GET ${project}/services`,
    `GET ${project}/services/open`,
    `GET /api/v1/status`,
    `POST ${project}/services/open/nudge`,
  ];
  for (const request of forbidden) expect((await raw(server, request, { token: front })).status, request).toBe(403);
  const post2 = (body: object) =>
    raw(server, `POST ${project}/services/open/jobs`, { token: front, body: JSON.stringify(body) });
  expect((await post2({ directory: 'somebodys' })).status).toBe(403);
  expect((await post2({ after: ['1'] })).status).toBe(403);
  const known = { name: 'a.txt', digest: createHash('sha256').update('alpha').digest('hex'), size: 5 };
  expect((await post2({ files: [known], parameters: { texts: ['a.txt'] } })).status).toBe(403);
  // Others hold the same token: who guesses a request's id would be shown its link.
  const guessable = await post2({ requestId: 'script-0001', parameters: {} });
  expect([guessable.status, guessable.json().detail]).toEqual([400, expect.stringContaining('nobody guesses')]);
});

test('a file that was uploaded before is as large as its bytes are, whatever the request says', async () => {
  await startHostProcess(server, serviceHome(COUNT('sizes')));
  const bytes = Buffer.alloc(200_000, 'x');
  const digest = createHash('sha256').update(bytes).digest('hex');
  const params = { project: 'default', digest };
  await clientOf(server).call(routes.putBlob, { params, raw: bytes });
  const add = (file: object) =>
    raw(server, 'POST /api/v1/projects/default/services/sizes/jobs', {
      token: adminToken(server),
      body: JSON.stringify({ parameters: { texts: ['a.txt'] }, files: [{ name: 'a.txt', digest, ...file }] }),
    });
  expect([(await add({ size: 3 })).status, await countJobs('sizes')]).toEqual([413, 0]);
  const lacking = await add({ size: 3, digest: 'f'.repeat(64) });
  expect([lacking.status, lacking.json().code]).toEqual([404, 'not-found']);
});

test("a reader's token sees the queue and adds nothing", async () => {
  await startHostProcess(server, serviceHome(COUNT('readonly')));
  expect((await post('readonly', {}, { texts: ONE }, await tokenOf('read'))).status).toBe(403);
});

test('pilotage job add sends files from anywhere, and prints the link', async () => {
  await startHostProcess(server, serviceHome(COUNT('sent')));
  const files = temporaryDirectory({ 'one.txt': 'first', 'two.txt': 'second' });
  const args = ['job', 'add', 'sent', '--file', 'texts=one.txt', '--file', 'texts=two.txt', '--set', 'factor=4'];
  const made = await server.json<Sent['body']>(args, { cwd: files });
  await complete(made.link);
  expect((await look(made.link, '/files/count')).text.trim()).toBe('11');
  const wrong = await server.run(['job', 'add', 'sent', '--file', 'nothing=one.txt'], { cwd: files });
  expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('files go to texts, extra')]);
  const missing = await server.run(['job', 'add', 'sent', '--file', 'texts=none.txt'], { cwd: files });
  expect(missing.stderr).toContain("there is no file '");
});

test('only what the service says is a result; links, hidden files and the log are none', async () => {
  const home = serviceHome(
    COUNT('chosen', "results: ['*.txt', 'out/**', 'link', 'away/*'],").replace(
      'run: () =>',
      `postprocess() {}, complete() { const fs = process.getBuiltinModule('node:fs'); fs.mkdirSync('out/deep', { recursive: true });
        fs.writeFileSync('out/deep/file', 'x'); fs.writeFileSync('out/.hidden', 'x'); fs.symlinkSync('/etc/passwd', 'link'); fs.symlinkSync('/etc', 'away'); },
      run: () =>`,
    ),
  );
  await startHostProcess(server, home);
  const { body } = await post('chosen', {}, { texts: ONE });
  const { files } = (await complete(body.link)).json();
  expect(files.map((file: { path: string }) => file.path)).toEqual(['a.txt', 'out/deep/file']);
});

test('patterns that lead out of the directory fail the job, and say so, once', async () => {
  const module = COUNT(
    'outside',
    `results: ['../../service.*'], complete() { appendFileSync('../../completed', 'x'); },`,
  );
  const home = serviceHome(module.replace('{ existsSync }', '{ appendFileSync, existsSync }'));
  await startHostProcess(server, home);
  const { body } = await post('outside', {}, { texts: ONE });
  await waitUntil('it failed', async () => (await look(body.link)).json().state === 'FAILED');
  const job = await clientOf(server).call(routes.job, { params: { project: 'default', number: body.number } });
  expect(job.serviceJob?.failure).toMatchObject({ hook: 'results', message: expect.stringContaining('service.ts') });
  expect(readFileSync(path.join(home, 'completed'), 'utf8')).toBe('x');
});

test('results and inputs outlive their first day without anybody looking, and go after their job', async () => {
  await using own = await startServer(['--workers', '1', '--blob-grace', '2s']);
  await startHostProcess(own, serviceHome(COUNT('kept')));
  const form = new FormData();
  form.append('texts', new Blob(['kept for long']), 'a.txt');
  const answer = await fetch(`${own.url()}/api/v1/projects/default/services/kept/jobs`, {
    method: 'POST',
    headers: { authorization: `Bearer ${adminToken(own)}` },
    body: form,
  });
  const { link, number } = (await answer.json()) as Sent['body'];
  const usage = () => clientOf(own).call(routes.projectUsage, { params: { project: 'default' } });
  const file = () => raw(own, `GET ${apiOf(link)}/files/a.txt`);
  await waitUntil('it is complete', async () => (await file()).status === 200);
  // Forgotten are the tasks that it ran as: their outputs would go with them.
  await own.run(['forget', '1']);
  const digest = createHash('sha256').update('kept for long').digest('hex');
  const missing = () =>
    clientOf(own).call(routes.missingBlobs, { params: { project: 'default' }, body: { digests: [digest] } });
  await waitUntil('nothing else is without a use', async () => (await usage()).unreferencedBlobs === 0, 60);
  expect((await file()).text).toBe('kept for long');
  await clientOf(own).call(routes.wishJobs, {
    params: { project: 'default' },
    body: { wish: 'delete', jobs: [number] },
  });
  await waitUntil('the link is gone', async () => (await file()).status === 404);
  await waitUntil('its bytes are gone', async () => (await usage()).blobs === 0, 60);
  expect((await missing()).missing).toEqual([digest]);
});

test('what staff mended in a failed job is not put back when it is resubmitted', async () => {
  const home = serviceHome(
    COUNT('mended').replace(
      "job.logger.info('texts: '",
      "if (process.getBuiltinModule('node:fs').readFileSync('a.txt', 'utf8') === 'bad') throw new Error('bad'); job.logger.info('texts: '",
    ),
  );
  await startHostProcess(server, home);
  const { body } = await post('mended', {}, { texts: [['a.txt', 'bad']] });
  const params = { project: 'default', number: body.number };
  const failed = await waitUntil('it failed', async () => {
    const job = await clientOf(server).call(routes.job, { params });
    return job.state === 'FAILED' && job.serviceJob?.intent === null && job;
  });
  writeFileSync(path.join(failed.serviceJob?.directory ?? '', 'a.txt'), 'good now');
  await server.run(['job', 'resubmit', body.number]);
  await complete(body.link);
  expect((await look(body.link, '/files/a.txt')).text).toBe('good now');
});

test('a full disk at the server refuses the form, and later forms are taken', async ({ skip }) => {
  const disk = smallDisk('16m', skip);
  await using own = await startServer(['--workers', '1', '--blobs', path.join(disk, 'blobs')]);
  await startHostProcess(own, serviceHome(COUNT('full').replace('maxBytes: 100_000', 'maxBytes: 100_000_000')));
  const send = async (bytes: number) => {
    const form = new FormData();
    form.append('texts', new Blob([new Uint8Array(bytes).fill(bytes % 251)]), 'a.txt');
    return fetch(`${own.url()}/api/v1/projects/default/services/full/jobs`, {
      method: 'POST',
      headers: { authorization: `Bearer ${adminToken(own)}` },
      body: form,
    });
  };
  const refused = await send(64_000_000);
  expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([503, 'storage-full']);
  expect((await send(1000)).status).toBe(201);
  expect(existsSync(path.join(own.data, 'forms')) ? readdirSync(path.join(own.data, 'forms')) : []).toEqual([]);
});

test('links stay good after a restart; a lost key is noticed, and a new one is begun with when somebody says so', async () => {
  await using own = await startServer(['--workers', '0']);
  await startHostProcess(own, serviceHome(COUNT('restarted')));
  const form = new FormData();
  form.append('texts', new Blob(['x']), 'a.txt');
  const headers = { authorization: `Bearer ${adminToken(own)}` };
  const url = `${own.url()}/api/v1/projects/default/services/restarted/jobs`;
  const { link, secret } = (await (await fetch(url, { method: 'POST', headers, body: form })).json()) as Sent['body'];
  await own.kill();
  const key = path.join(own.data, 'link-key');
  expect(readFileSync(key, 'utf8')).not.toContain(secret);
  expect(readFileSync(path.join(own.data, 'pilotage.db'), 'latin1')).not.toContain(secret);
  await own.restart();
  expect((await raw(own, `GET ${apiOf(link)}`)).status).toBe(200);
  await own.kill();
  chmodSync(key, 0o600);
  writeFileSync(key, 'another one');
  const other = await startCommandOf(own, []);
  expect(other.stderr()).toContain('start once with --new-link-key');
  other.child.kill('SIGTERM');
  await other.done;
  const renewed = await startCommandOf(own, ['--new-link-key']);
  renewed.child.kill('SIGTERM');
  await renewed.done;
  const again = await startCommandOf(own, []);
  expect(again.stderr()).not.toContain('link-key');
  expect((await raw(own, `GET ${apiOf(link)}`)).status).toBe(200);
  // What is told from now on, in mails say, is another link, and opens the same job.
  const [job] = (await clientOf(own).call(routes.jobs, { params: { project: 'default' }, query: {} })).jobs;
  const { serviceJob } = await clientOf(own).call(routes.job, {
    params: { project: 'default', number: job?.number ?? '' },
  });
  expect(serviceJob?.link).not.toContain(secret);
  expect((await raw(own, `GET ${apiOf(serviceJob?.link ?? '')}`)).status).toBe(200);
  again.child.kill('SIGTERM');
  await again.done;
});

test('--public-url is what links begin with', async () => {
  await using own = await startServer(['--public-url', 'https://jobs.example.org/pilotage/']);
  await startHostProcess(own, serviceHome(COUNT('public')));
  const service = await clientOf(own).call(routes.service, { params: { project: 'default', service: 'public' } });
  expect(service.url).toBe('https://jobs.example.org/pilotage/services/default/public');
  const wrong = await own.run(['serve', '--data', temporaryDirectory(), '--public-url', 'jobs.example.org']);
  expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('write https://HOST')]);
});

async function startCommandOf(own: RunningServer, flags: readonly string[]) {
  const running = own.start(['serve', '--data', own.data, '--listen', '127.0.0.1:0', ...flags]);
  await waitUntil('it serves', () => {
    if (running.child.exitCode !== null) throw new Error(running.stderr());
    return running.stdout().includes('serves at');
  });
  return running;
}

test('a link in the job directory is not written through by a file that comes', async () => {
  const outside = temporaryDirectory({ 'target.txt': 'mine' });
  const home = serviceHome(COUNT('through'));
  symlinkSync(path.join(outside, 'target.txt'), path.join(home, 'incoming', 'x'));
  await startHostProcess(server, home);
  const { body } = await post('through', {}, { texts: [['target.txt', 'theirs']] });
  await complete(body.link);
  expect(readFileSync(path.join(outside, 'target.txt'), 'utf8')).toBe('mine');
});
