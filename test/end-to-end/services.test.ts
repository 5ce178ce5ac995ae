import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { Log } from '../../src/ground/base/log.ts';
import { routes } from '../../src/ground/protocol/routes.ts';
import { type Host, type HostOptions, startHost } from '../../src/worker/service/host.ts';
import { readServiceConfig } from '../../src/worker/service/read-config.ts';
import { clientOf } from '../support/api.ts';
import { countSleeps } from '../support/processes.ts';
import { type Running, type RunningServer, startCommand, startServer } from '../support/running-server.ts';
import { namesIn, serviceHome } from '../support/service-home.ts';
import { startHostProcess } from '../support/service-process.ts';
import { smallDisk } from '../support/small-disk.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitUntil } from '../support/wait-until.ts';

let server: RunningServer;
beforeAll(async () => {
  server = await startServer(['--workers', '2']);
});
afterAll(() => server[Symbol.asyncDispose]());

const quiet: Log = {
  debug() {},
  info() {},
  warn() {},
  error(facts, message) {
    console.error(message, facts);
  },
};

async function host(home: string, over: Partial<HostOptions> = {}): Promise<Host> {
  const made = await startHost({
    client: clientOf(server),
    config: readServiceConfig(home),
    version: 'test',
    log: quiet,
    environment: process.env,
    ...over,
  });
  onTestFinished(async () => {
    made.stop(0);
    await made.done.catch(() => {});
  });
  return made;
}

const add = (service: string, body: object = {}) =>
  clientOf(server).call(routes.createServiceJob, { params: { project: 'default', service }, body });
const show = (number: string) => clientOf(server).call(routes.job, { params: { project: 'default', number } });
const untilState = (number: string, state: string) =>
  waitUntil(
    `job ${number} is ${state}`,
    async () => {
      const job = await show(number);
      return job.state === state && job.serviceJob?.intent === null && job;
    },
    30,
  );

const LIFE = `
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { defineService, pool, Type } from 'pilotage/service';
const mark = (job: { directory: string | null }, hook: string) => job.directory && appendFileSync('marks', hook + ' ' + (process.cwd() === job.directory) + '\\n');
export default defineService({
  name: 'life',
  parameters: Type.Object({ word: Type.String(), times: Type.Integer({ default: 2 }) }),
  metadata: Type.Object({ seen: Type.Array(Type.String()) }),
  preprocess(job) { mark(job, 'preprocess'); writeFileSync('word.txt', job.parameters.word.repeat(job.parameters.times)); job.metadata.seen = ['preprocess']; },
  run(job) { mark(job, 'run'); return pool({ command: ['sh', '-c', 'tr a-z A-Z < word.txt > out.txt'], outputs: ['out.txt'] }); },
  postprocess(job) { mark(job, 'postprocess'); job.metadata.seen?.push('postprocess ' + readFileSync('out.txt', 'utf8')); },
  finalize(job) { mark(job, 'finalize'); },
  complete(job) { mark(job, 'complete'); },
  archive(job) { mark(job, 'archive'); },
  expire(job) { job.metadata.seen?.push('expire'); },
});
`;

test('a job goes through its life: prepared, run on the pool, finished, archived, expired', async () => {
  const home = serviceHome(
    LIFE,
    'directories: {running: running, completed: done, archived: archive}\nretention: {archive: 2s, expire: 4s}\n',
  );
  await host(home);
  const { number } = await add('life', { parameters: { word: 'water' } });
  const done = await untilState(number, 'COMPLETED');
  const directory = done.serviceJob?.directory as string;
  expect(path.dirname(directory)).toBe(path.join(home, 'done'));
  expect(readFileSync(path.join(directory, 'out.txt'), 'utf8')).toBe('WATERWATER');
  await untilState(number, 'ARCHIVED');
  await waitUntil('it is archived', () => namesIn(path.join(home, 'archive')).length === 1);
  const gone = await untilState(number, 'EXPIRED');
  expect(gone.serviceJob?.directory).toBe(null);
  expect(namesIn(path.join(home, 'archive'))).toEqual([]);
  await waitUntil('expire was called', async () => (await show(number)).serviceJob?.metadata.seen);
  expect((await show(number)).serviceJob?.metadata).toMatchObject({
    seen: expect.arrayContaining(['preprocess', 'postprocess WATERWATER']),
  });
});

/** A service whose module is made of these hooks. */
function moduleOf(name: string, hooks: string, head = ''): string {
  return `import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { defineService, nothing, pool, Type } from 'pilotage/service';
${head}
export default defineService({ name: '${name}', parameters: Type.Object({ n: Type.Integer({ default: 0 }) }, { additionalProperties: true }), metadata: Type.Object({ rounds: Type.Integer(), seen: Type.String() }), ${hooks} });`;
}
const wish = (what: 'cancel' | 'fail' | 'resubmit' | 'delete', ...jobs: string[]) =>
  clientOf(server).call(routes.wishJobs, { params: { project: 'default' }, body: { wish: what, jobs } });

const HOOKS = ['preprocess', 'run', 'postprocess', 'finalize', 'complete', 'archive', 'expire'] as const;
test.each(HOOKS)('a fault in %s fails the job, with its hook and its stack', async (hook) => {
  const name = `fault-${hook}`;
  const run = hook === 'run' ? "run() { throw new Error('oh no'); }" : 'run: () => nothing()';
  const fault = hook === 'run' ? '' : `${hook}() { throw new Error('oh no'); },`;
  const home = serviceHome(moduleOf(name, `${fault} ${run}`), 'retention: {archive: 0s, expire: 0s}\n');
  await host(home);
  const { number } = await add(name);
  const job = await untilState(number, 'FAILED');
  expect(job.serviceJob?.failure).toMatchObject({
    hook,
    message: 'oh no',
    stack: expect.stringContaining('service.ts'),
  });
  expect(job.reason).toBe(`${hook}: oh no`);
  if (hook === 'expire') expect(job.serviceJob?.directory).toBe(null);
  else expect(namesIn(job.serviceJob?.directory as string)).toEqual(['framework.log']);
});

test.each([
  ['nothing at all', 'undefined', "'run' returned nothing, which is no runner"],
  ['text', "'cluster'", '\'run\' returned "cluster", which is no runner'],
  ['a wrong one', "({ runner: 'pool', commands: [] })", "the runner of 'run' is wrong"],
  ['a wrong array', "pool({ command: ['true'], array: '5-1' })", 'ends before it begins'],
  ['missing inputs', "pool({ command: ['true'], inputs: ['no.pdb'] })", "the job's directory has no 'no.pdb'"],
  ['an input outside', "pool({ command: ['true'], inputs: ['../..'] })", "leads upwards with '..'"],
])('a run that returns %s fails', async (_what, value, message) => {
  const home = serviceHome(moduleOf('nonsense', `run: () => (${value}) as never`));
  await host(home);
  const { number } = await add('nonsense');
  expect((await untilState(number, 'FAILED')).serviceJob?.failure?.message).toContain(message);
});

test('the last command of a run that fails is a failure, and an array is judged by all its tasks', async () => {
  const home = serviceHome(
    moduleOf(
      'judged',
      "run: (job) => pool({ command: ['sh', '-c', 'test {index} != ' + job.parameters.n + ' && echo {index} > o'], array: '1-3', outputs: ['o'] })",
    ),
  );
  await host(home);
  const [bad, good] = [await add('judged', { parameters: { n: 2 } }), await add('judged', { parameters: { n: 9 } })];
  const failed = await untilState(bad.number, 'FAILED');
  expect(failed.serviceJob?.failure).toMatchObject({
    hook: 'run',
    message: expect.stringMatching(/^1 of 3 tasks did not succeed: task \d+\.2 failed \(exit-code, exit code 1\)/),
  });
  const directory = (await untilState(good.number, 'COMPLETED')).serviceJob?.directory as string;
  expect(namesIn(directory)).toEqual(['1', '2', '3']);
  expect(readFileSync(path.join(directory, '3', 'o'), 'utf8')).toBe('3\n');
});

test('whoever is told of a run that failed reads what its task wrote last', async () => {
  const command = "['sh', '-c', 'seq 50; echo no such residue: XYZ >&2; exit 3']";
  await host(serviceHome(moduleOf('telling', `run: () => pool({ command: ${command} })`)));
  const { number } = await add('telling');
  const { serviceJob } = await untilState(number, 'FAILED');
  expect(serviceJob?.failure?.message).toMatch(
    /did not succeed: task .*: the program ended with exit code 3\. 'pilotage logs/,
  );
  expect(serviceJob?.failure?.stack).toMatch(/shows what it wrote\nThe end of its stderr:\n {2}no such residue: XYZ$/);
});

test('a run may be skipped, and rounds go on as long as a hook wants', async () => {
  const rounds = `
    preprocess(job) { if (job.parameters.n === 0) job.skipRun(); },
    run() { writeFileSync('run', ''); return nothing(); },
    rerun(job, data) { appendFileSync('rounds', JSON.stringify(data) + ' ' + job.run + '\\n'); return nothing(); },
    postprocess(job) { if (job.run <= job.parameters.n) job.rescheduleRun({ round: job.run }); },
    finalize() { appendFileSync('rounds', 'final\\n'); }, complete(job) { job.metadata.seen = 'complete'; }`;
  await host(serviceHome(moduleOf('rounds', rounds)));
  const [skipped, three] = [await add('rounds'), await add('rounds', { parameters: { n: 3 } })];
  const first = await untilState(skipped.number, 'COMPLETED');
  expect(Object.keys(first.serviceJob?.times ?? {}).sort()).toEqual(['COMPLETED', 'INCOMING', 'PREPROCESSING']);
  const second = await untilState(three.number, 'COMPLETED');
  expect(readFileSync(path.join(second.serviceJob?.directory as string, 'rounds'), 'utf8')).toBe(
    '{"round":1} 2\n{"round":2} 3\n{"round":3} 4\nfinal\n',
  );
  await waitUntil(
    'complete was called',
    async () => (await show(skipped.number)).serviceJob?.metadata.seen === 'complete',
  );
});

test('what a hook says of its progress last is told, however fast it says it', async () => {
  const say = "postprocess(job) { for (let at = 1; at <= 9; at++) job.progress(at / 10, 'part ' + at); },";
  await host(serviceHome(moduleOf('steps', `${say} run: () => pool({ command: ['true'], array: '1-3' })`)));
  const { number } = await add('steps');
  const job = await untilState(number, 'COMPLETED');
  expect(job.progress).toEqual({ fraction: 0.9, message: 'part 9' });
});

test('a failed job is resubmitted from where it was prepared, and runs again', async () => {
  const hooks =
    "preprocess() { writeFileSync('input', 'x'); }, run: () => nothing(), finalize() { if (!existsSync('mended')) { writeFileSync('mended', ''); throw new Error('once'); } }";
  const home = serviceHome(moduleOf('again', hooks), 'directories: {failed: failed, completed: done}\n');
  await host(home);
  const { number } = await add('again');
  const failed = await untilState(number, 'FAILED');
  expect(path.dirname(failed.serviceJob?.directory as string)).toBe(path.join(home, 'failed'));
  expect(await wish('resubmit', number)).toMatchObject({ wished: [number], refused: [] });
  const done = await untilState(number, 'COMPLETED');
  expect(done.serviceJob?.failure).toBe(null);
  expect(namesIn(done.serviceJob?.directory as string)).toEqual(['framework.log', 'input', 'mended']);
  expect(await wish('resubmit', number)).toMatchObject({ wished: [], refused: [{ number }] });
});

test('so many run as the limit says, and a freed slot is taken at once', async () => {
  const home = serviceHome(
    moduleOf(
      'limited',
      "run: () => pool({ command: ['sh', '-c', 'while [ ! -e ' + process.cwd() + '/../../go ]; do sleep 0.05; done'] })",
    ),
    'limits: {running: 2}\n',
  );
  await host(home);
  const jobs: string[] = [];
  for (let n = 0; n < 5; n += 1) jobs.push((await add('limited')).number);
  const states = async () =>
    (await clientOf(server).call(routes.service, { params: { project: 'default', service: 'limited' } })).counts;
  await waitUntil('two run', async () => (await states()).RUNNING === 2);
  expect(await states()).toEqual({ RUNNING: 2, INCOMING: 3 });
  await wish('cancel', jobs[0] as string);
  await waitUntil('another one runs', async () => {
    const now = await states();
    return now.CANCELLED === 1 && now.RUNNING === 2 && now.INCOMING === 2;
  });
  writeFileSync(path.join(home, 'go'), '');
  await waitUntil('all are done', async () => (await states()).COMPLETED === 4, 60);
});

test.each(['INCOMING', 'PREPROCESSING', 'RUNNING', 'POSTPROCESSING', 'FINALIZING'])(
  'a job that is %s can be cancelled',
  async (state) => {
    const hang = (at: string): string => (at === state ? 'await pause(60_000);' : '');
    const seconds = `77${['INCOMING', 'PREPROCESSING', 'RUNNING', 'POSTPROCESSING', 'FINALIZING'].indexOf(state)}123`;
    const command = state === 'RUNNING' ? `['sleep', '${seconds}']` : "['true']";
    const hooks = `async preprocess() { ${hang('PREPROCESSING')} }, run: () => pool({ command: ${command} }), async postprocess() { ${hang('POSTPROCESSING')} }, async finalize() { ${hang('FINALIZING')} }`;
    const name = `cancel-${state.toLowerCase()}`;
    await host(serviceHome(moduleOf(name, hooks)));
    const before = state === 'INCOMING' ? [await blocked()] : [];
    const { number } = await add(name, { after: before });
    await untilState(number, state);
    if (state === 'RUNNING') await waitUntil('its program runs', () => countSleeps(seconds) === 1);
    await wish('cancel', number);
    const job = await untilState(number, 'CANCELLED');
    expect(job.serviceJob?.failure).toBe(null);
    await waitUntil('its program is ended', () => countSleeps(seconds) === 0);
    expect(await wish('cancel', number)).toMatchObject({
      refused: [{ number, why: expect.stringContaining('CANCELLED') }],
    });
    await wish('delete', number);
    await waitUntil('it is gone', () =>
      show(number).then(
        () => false,
        () => true,
      ),
    );
    expect(existsSync(job.serviceJob?.directory ?? '/nowhere')).toBe(false);
  },
);

/** A job that never ends by itself: its service is not hosted any more. */
async function blocked(): Promise<string> {
  const one = await host(serviceHome(moduleOf('blocked', 'run: () => nothing()')));
  one.stop(0);
  await one.done;
  return (await add('blocked')).number;
}

test('a directory that is there becomes a job, whatever it is called, and nothing else is touched', async () => {
  const home = serviceHome(
    moduleOf('adopts', "run: () => pool({ command: ['sh', '-c', 'cat in > out'], outputs: ['out'] })"),
  );
  await host(home);
  const strange = `a "b" $(touch x) '\n' ünï`;
  mkdirSync(path.join(home, 'incoming', strange));
  writeFileSync(path.join(home, 'incoming', strange, 'in'), 'content');
  mkdirSync(path.join(home, 'incoming', 'another'));
  symlinkSync(path.join(home, 'incoming', 'another'), path.join(home, 'incoming', 'link'));
  const { number } = await add('adopts', { directory: strange, name: strange });
  const job = await untilState(number, 'COMPLETED');
  expect(job.name).toBe(strange);
  expect(readFileSync(path.join(job.serviceJob?.directory as string, 'out'), 'utf8')).toBe('content');
  for (const bad of ['../other', '/etc', '.', '..', '.hidden', 'a/b'])
    await expect(add('adopts', { directory: bad }), bad).rejects.toThrow('is not the name of a directory');
  const linked = await add('adopts', { directory: 'link' });
  expect((await untilState(linked.number, 'FAILED')).serviceJob?.failure).toMatchObject({
    hook: 'move',
    message: expect.stringContaining('is a link'),
  });
  const missing = await add('adopts', { directory: 'not-there' });
  expect((await untilState(missing.number, 'FAILED')).serviceJob?.failure?.message).toContain('directory is gone');
  expect(namesIn(path.join(home, 'incoming'))).toEqual(['another', 'link']);
});

test('parameters out of the schema are refused, each with what is wrong', async () => {
  await host(
    serviceHome(
      moduleOf('checked', 'run: () => nothing()')
        .replace(', { additionalProperties: true }', '')
        .replace('default: 0', 'minimum: 1'),
    ),
  );
  await expect(add('checked', { parameters: { n: 0 } })).rejects.toThrow("'n' must be >= 1");
  await expect(add('checked', { parameters: {} })).rejects.toThrow("'n' is missing");
  await expect(add('checked', { parameters: { n: 'x' } })).rejects.toThrow("'n' must be");
  await expect(add('checked', { parameters: { n: 1, m: 1 } })).rejects.toThrow("no parameter 'm': did you mean 'n'?");
  await expect(add('unknown-service')).rejects.toThrow("there is no service 'unknown-service'");
});

test('a second host is refused and says who has the service; the service goes on', async () => {
  const home = serviceHome(moduleOf('single', 'run: () => nothing()'));
  const first = await startHostProcess(server, home);
  await expect(host(home)).rejects.toMatchObject({
    code: 'already-hosted',
    message: expect.stringContaining(`process ${first.child.pid}`),
  });
  const second = await server.run(['service', 'run', home]);
  expect(second).toMatchObject({ code: 1, stderr: expect.stringContaining(`by process ${first.child.pid}`) });
  await untilState((await add('single')).number, 'COMPLETED');
});

/** Where a real kill -9 comes in: each hook kills its host, once, before and after its work. */
const KILLED = ['preprocess', 'run', 'postprocess', 'finalize', 'complete', 'archive'] as const;
test('kill -9 of the host in every hook: all of each job happens, and nothing is submitted twice', async () => {
  const kill = (hook: string): string =>
    `if (job.parameters.hook === '${hook}' && !existsSync('killed')) { writeFileSync('killed', ''); process.kill(process.ppid, 'SIGKILL'); await pause(60_000); }`;
  const hooks = HOOKS.filter((hook) => hook !== 'run' && hook !== 'expire')
    .map((hook) => `async ${hook}(job: any) { ${kill(hook)} appendFileSync('marks', '${hook}\\n'); }`)
    .join(', ');
  const run = `async run(job: any) { ${kill('run')} appendFileSync('marks', 'run\\n'); return pool({ command: ['sh', '-c', 'echo x >> ' + job.parameters.witness] }); }`;
  const home = serviceHome(
    moduleOf('killed', `${hooks}, ${run}`),
    'directories: {preprocessing: a, running: b, postprocessing: c, finalizing: d, completed: e, archived: f}\nretention: {archive: 0s, expire: never}\n',
  );
  const keeper = await keepHosting(home);
  const witness = (hook: string): string => path.join(home, `witness-${hook}`);
  await waitUntil('it is hosted', () =>
    clientOf(server)
      .call(routes.service, { params: { project: 'default', service: 'killed' } })
      .then(
        () => true,
        () => false,
      ),
  );
  for (const hook of KILLED) {
    const { number } = await add('killed', { parameters: { hook, witness: witness(hook) } });
    const job = await waitUntil(
      `the job that kills in ${hook} is archived`,
      async () => {
        const seen = await show(number);
        if (seen.state === 'FAILED') throw new Error(JSON.stringify(seen.serviceJob?.failure));
        return seen.state === 'ARCHIVED' && seen.serviceJob?.intent === null && seen;
      },
      60,
    );
    const marks = await waitUntil('archive is through', () => {
      const text = readFileSync(path.join(job.serviceJob?.directory as string, 'marks'), 'utf8')
        .trim()
        .split('\n');
      return text.at(-1) === 'archive' && text;
    });
    expect(marks, hook).toEqual(['preprocess', 'run', 'postprocess', 'finalize', 'complete', 'archive']);
    expect(readFileSync(witness(hook), 'utf8')).toBe('x\n');
    for (const left of ['incoming', 'a', 'b', 'c', 'd', 'e']) expect(namesIn(path.join(home, left)), left).toEqual([]);
  }
  expect(keeper.starts()).toBeGreaterThan(KILLED.length);
});

/** A host that is started again whenever it ends, as systemd would. */
async function keepHosting(home: string) {
  let starts = 0;
  let wanted = true;
  let current: Running | undefined;
  const token = path.join(server.data, 'admin-token');
  const loop = (async () => {
    while (wanted) {
      starts += 1;
      const running = startCommand(['--server', server.url(), '--token-file', token, 'service', 'run', home], {});
      current = running;
      await running.done;
    }
  })();
  onTestFinished(async () => {
    wanted = false;
    current?.child.kill('SIGKILL');
    await loop;
  });
  return { starts: () => starts };
}

test.each(['one file system', 'two file systems'])(
  'a host that dies inside every step of every move, on %s: the next one goes on',
  async (kind) => {
    const name = kind === 'one file system' ? 'moves-one' : 'moves-two';
    const witness = path.join(temporaryDirectory(), 'witness');
    const home = serviceHome(
      moduleOf(
        name,
        `preprocess() { writeFileSync('in', 'x'); }, run: () => pool({ command: ['sh', '-c', 'echo x >> ${witness}; cp in out'], outputs: ['out'] })`,
      ),
    );
    const other =
      kind === 'one file system'
        ? path.join(home, 'other')
        : smallDisk('8m', (reason) => {
            throw new Error(reason);
          });
    const places = ['preprocessing', 'running', 'postprocessing', 'finalizing', 'completed', 'archived'].map(
      (state, at) => `${state}: ${at % 2 ? path.join(other, `d${at}`) : `d${at}`}`,
    );
    writeFileSync(
      path.join(home, 'service.yaml'),
      `directories: {${places.join(', ')}}\nretention: {archive: 0s, expire: 1s}\n`,
    );
    const seen = new Set<string>();
    let number: string | undefined;
    for (let hosts = 0; hosts < 80; hosts += 1) {
      const died = Promise.withResolvers<'died'>();
      const one = await startHost({
        client: clientOf(server),
        config: readServiceConfig(home),
        version: 'test',
        log: quiet,
        environment: process.env,
        takeOver: true,
        atStep: (job) => (step) => {
          const at = `${job.intent ?? job.state} ${step}`;
          if (seen.has(at)) return undefined;
          seen.add(at);
          died.resolve('died');
          return new Promise(() => {});
        },
      });
      number ??= (await add(name)).number;
      const expired = waitUntil('it expired', async () => (await show(number as string)).state === 'EXPIRED', 60).then(
        () => 'expired',
        () => 'never',
      );
      const what = await Promise.race([died.promise, expired]);
      if (what !== 'died') break;
      one.abandon();
    }
    const job = await untilState(number as string, 'EXPIRED');
    expect(job.serviceJob?.failure).toBe(null);
    expect(readFileSync(witness, 'utf8')).toBe('x\n');
    for (const state of ['PREPROCESSING', 'RUNNING', 'POSTPROCESSING', 'FINALIZING', 'COMPLETED', 'ARCHIVED'])
      expect([...seen]).toContain(`${state} placed`.replace('PREPROCESSING placed', 'PREPROCESSING done'));
    expect([...seen].some((at) => at.endsWith('copied'))).toBe(kind === 'two file systems');
    for (let at = 0; at < 6; at += 1)
      expect(namesIn(at % 2 ? path.join(other, `d${at}`) : path.join(home, `d${at}`))).toEqual([]);
  },
  300_000,
);

test('a host that dies after it has submitted is followed by one with another token: the run is there once', async () => {
  const witness = path.join(temporaryDirectory(), 'ran');
  const home = serviceHome(
    moduleOf('other-token', `run: () => pool({ command: ['sh', '-c', 'echo x >> ${witness}'] })`),
  );
  const withToken = async (name: string) => {
    const body = { name, scopes: ['work' as const, 'submit' as const], projects: ['default'] };
    return clientOf(server, (await clientOf(server).call(routes.createToken, { body })).token);
  };
  const died = Promise.withResolvers<void>();
  const first = await host(home, {
    client: await withToken('first'),
    atStep: () => (step) => {
      if (step !== 'submitted') return undefined;
      died.resolve();
      return new Promise(() => {});
    },
  });
  const { number } = await add('other-token');
  await died.promise;
  first.abandon();
  await host(home, { client: await withToken('second'), takeOver: true });
  await untilState(number, 'COMPLETED');
  expect(readFileSync(witness, 'utf8')).toBe('x\n');
});

test('a server that is away is waited for: hooks go on, and nothing is lost', async () => {
  const own = await startServer(['--workers', '1']);
  onTestFinished(() => own[Symbol.asyncDispose]());
  const home = serviceHome(
    moduleOf(
      'away',
      "async preprocess() { writeFileSync('begun', ''); while (!existsSync('../../go')) await pause(20); }, run: () => nothing()",
    ),
  );
  await startHostProcess(own, home);
  const added = await clientOf(own).call(routes.createServiceJob, {
    params: { project: 'default', service: 'away' },
    body: {},
  });
  const isBegun = () =>
    namesIn(path.join(home, 'jobs')).some((job) => existsSync(path.join(home, 'jobs', job, 'begun')));
  await waitUntil('the hook runs', isBegun);
  const port = new URL(own.url()).port;
  await own.kill();
  writeFileSync(path.join(home, 'go'), '');
  await own.restart();
  expect(new URL(own.url()).port).toBe(port);
  await waitUntil(
    'it is complete',
    async () =>
      (await clientOf(own).call(routes.job, { params: { project: 'default', number: added.number } })).state ===
      'COMPLETED',
    60,
  );
});

test('orphan directories are reported and left alone', async () => {
  const home = serviceHome(moduleOf('orphans', 'run: () => nothing()'));
  mkdirSync(path.join(home, 'jobs', 'job-9-00000000'), { recursive: true });
  mkdirSync(path.join(home, 'jobs', 'of somebody else'));
  const warned: string[] = [];
  await host(home, { log: { ...quiet, warn: (_facts, message) => void warned.push(message) } });
  await waitUntil('the orphan is reported', () => warned.some((line) => line.includes('job-9-00000000')));
  expect(warned.filter((line) => line.includes('somebody'))).toEqual([]);
  await untilState((await add('orphans')).number, 'COMPLETED');
  expect(namesIn(path.join(home, 'jobs'))).toEqual(expect.arrayContaining(['job-9-00000000', 'of somebody else']));
});

test('a host in the background: started, asked, restarted, stopped; the reason of a fatal end is kept', async () => {
  const home = serviceHome(moduleOf('background', 'run: () => nothing()'));
  expect(await server.run(['service', 'status', home])).toMatchObject({
    code: 3,
    stdout: expect.stringContaining('is stopped'),
  });
  onTestFinished(async () => void (await server.run(['service', 'stop', home])));
  expect(await server.run(['service', 'start', home])).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('is running (process '),
  });
  expect(await server.run(['service', 'restart', home])).toMatchObject({ code: 0 });
  const elsewhere = ['--data', temporaryDirectory(), 'service', 'restart', home];
  expect(await server.run(elsewhere)).toMatchObject({
    code: 3,
    stderr: expect.stringContaining('no server is running'),
  });
  expect(await server.run(['service', 'status', home])).toMatchObject({ code: 0 });
  expect(await server.run(['service', 'nudge', 'background'])).toMatchObject({ code: 0 });
  const added = await server.json<{ number: string }>(['job', 'add', 'background', '--set', 'n=4']);
  await untilState(added.number, 'COMPLETED');
  expect((await server.run(['job', 'show', added.number])).stdout).toContain('background');
  expect(await server.run(['job', 'delete', '--all-of', 'background'])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--yes'),
  });
  expect(await server.run(['job', 'delete', '--all-of', 'background', '--yes'])).toMatchObject({ code: 0 });
  await waitUntil(
    'all are gone',
    async () => (await server.json<object[]>(['job', 'list', '--service', 'background'])).length === 0,
  );
  expect(await server.run(['service', 'stop', home])).toMatchObject({ code: 0 });
  writeFileSync(path.join(home, 'service.ts'), 'this is no program');
  expect(await server.run(['service', 'start', home])).toMatchObject({
    code: 1,
    stdout: expect.stringContaining('is stopped: '),
  });
  expect(await server.run(['service', 'status', home])).toMatchObject({
    code: 3,
    stdout: expect.stringMatching(/service\.ts' cannot be loaded: .*xpected.*'pilotage service check /),
  });
});

test('a new service works as it was written, and its types are checked', async () => {
  const directory = temporaryDirectory();
  expect(await server.run(['service', 'new', 'words'], { cwd: directory })).toMatchObject({ code: 0 });
  expect(await server.run(['service', 'check', 'words'], { cwd: directory })).toMatchObject({
    code: 0,
    stdout: expect.stringContaining("service 'words' is fit: hooks preprocess, run, postprocess\n"),
  });
  await startHostProcess(server, path.join(directory, 'words'));
  const { number } = await server.json<{ number: string }>(['job', 'add', 'words', '--set', 'text=one two three']);
  const job = await untilState(number, 'COMPLETED');
  expect(job.serviceJob?.metadata).toEqual({ words: 3 });
  const module = path.join(directory, 'words', 'service.ts');
  writeFileSync(module, readFileSync(module, 'utf8').replace('job.parameters.text', 'job.parameters.texts'));
  expect(await server.run(['service', 'check', 'words'], { cwd: directory })).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/do not fit:\n {2}service\.ts\(\d+.*'texts' does not exist.*\n$/),
  });
  writeFileSync(
    module,
    `console.log(await import.meta.dirname);\n${readFileSync(module, 'utf8').replace('parameters.texts', 'parameters.text')}`,
  );
  expect(await server.run(['service', 'check', 'words'], { cwd: directory })).toMatchObject({ code: 0 });
  const whole = await server.run(['job', 'add', 'words', directory, '--set', 'text=one'], {});
  expect(whole).toMatchObject({ code: 2, stderr: expect.stringContaining('holds the service') });
  expect(await server.run(['service', 'unit', 'words'], { cwd: directory })).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('ExecStart=pilotage --server'),
  });
});

test('a run at a site: a command, an array, and a batch script with its options', async () => {
  const home = temporaryDirectory();
  const env = { HOME: home, PILOTAGE_DATA: server.data };
  await server.run(['site', 'add', 'here', '--transport', 'local', '--scheduler', 'process', '--staging', 'archive'], {
    env,
  });
  const agent = server.start(['agent'], { env });
  onTestFinished(async () => {
    agent.child.kill('SIGTERM');
    await agent.done;
  });
  const runs = `[
    site({ name: 'here', command: ['sh', '-c', 'cat in > out'], outputs: ['out'] }),
    site({ name: 'here', command: ['sh', '-c', 'echo {index} $SLURM_ARRAY_TASK_ID > out'], array: '1-3:2', outputs: ['out'] }),
    script({ scheduler: 'slurm', site: 'here', text: '#!/bin/sh\\ncat in > out; false; true\\n', options: '--time=5', outputs: ['out'] }),
    script({ scheduler: 'slurm', site: 'here', text: '#!/bin/sh\\ntrue; false\\n' }),
  ][job.parameters.n] as never`;
  const module = moduleOf('at-site', `preprocess() { writeFileSync('in', 'input'); }, run: (job) => ${runs}`);
  await host(serviceHome(module.replace('nothing, pool, Type', 'pool, script, site, Type')));
  const jobs: string[] = [];
  for (let n = 0; n < 4; n += 1) jobs.push((await add('at-site', { parameters: { n } })).number);
  const read = async (n: number, file: string): Promise<string> => {
    const job = await untilState(jobs[n] as string, 'COMPLETED');
    return readFileSync(path.join(job.serviceJob?.directory as string, file), 'utf8');
  };
  expect(await read(0, 'out')).toBe('input');
  expect([await read(1, '1/out'), await read(1, '3/out')]).toEqual(['1 1\n', '3 3\n']);
  expect(await read(2, 'out')).toBe('input');
  const failed = await untilState(jobs[3] as string, 'FAILED');
  expect(failed.serviceJob?.failure).toMatchObject({ hook: 'run', message: expect.stringContaining('exit code 1') });
});

test('1,000 empty jobs go through all states, each in a directory of its own, 50 in a second', async () => {
  const states = ['preprocessing', 'running', 'postprocessing', 'finalizing', 'completed', 'archived', 'failed'];
  const home = serviceHome(
    moduleOf('empty', `${HOOKS.filter((hook) => hook !== 'run').join('() {}, ')}() {}, run: () => nothing()`),
    `directories: {${states.map((state) => `${state}: ${state}`).join(', ')}}\nlimits: {running: 50}\nretention: {archive: 0s, expire: 0s}\n`,
  );
  await startHostProcess(server, home);
  const begun = performance.now();
  const lanes = Array.from({ length: 10 }, async () => {
    for (let n = 0; n < 100; n += 1) await add('empty');
  });
  await Promise.all(lanes);
  const params = { project: 'default', service: 'empty' };
  await waitUntil(
    'all have expired',
    async () => (await clientOf(server).call(routes.service, { params })).counts.EXPIRED === 1000,
    60,
  );
  const seconds = (performance.now() - begun) / 1000;
  const { jobs } = await clientOf(server).call(routes.jobs, {
    params: { project: 'default' },
    query: { service: 'empty', limit: 1000 },
  });
  const seen = Object.keys((await show(jobs[999]?.number as string)).serviceJob?.times ?? {});
  expect(seen.sort()).toEqual(
    ['INCOMING', ...states.slice(0, -1).map((state) => state.toUpperCase()), 'EXPIRED'].sort(),
  );
  for (const state of states) expect(namesIn(path.join(home, state)), state).toEqual([]);
  expect(1000 / seconds).toBeGreaterThan(50);
});
