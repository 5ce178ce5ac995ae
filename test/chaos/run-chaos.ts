import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { PilotageError } from '../../src/ground/base/errors.ts';
import { type Client, createClient } from '../../src/ground/client/client.ts';
import { httpTransport } from '../../src/ground/client/http-transport.ts';
import { routes } from '../../src/ground/protocol/routes.ts';
import { freePort } from '../support/free-port.ts';
import { waitUntil } from '../support/wait-until.ts';
import { compare, type Verdict } from './compare.ts';
import { type Fault, type FaultyProxy, startFaultyProxy } from './faulty-proxy.ts';
import { ignoreOutage } from './outage.ts';
import { seededRandom } from './random.ts';
import { createWitness, type Witness } from './witness.ts';

const PILOTAGE = join(import.meta.dirname, '../../bin/pilotage');

export interface ChaosOptions {
  readonly seed: number;
  /** At least so many tasks are submitted, and submitting goes on for so long. */
  readonly tasks: number;
  readonly seconds: number;
  /** SQLite unless given. */
  readonly database?: string;
  /** Servers on one database; more than one only with PostgreSQL. */
  readonly servers: number;
  readonly workers: number;
  /** The wall clock of the servers jumps, by libfaketime (the path of its library). */
  readonly jumpingClock?: string;
  readonly say: (line: string) => void;
}

/** What a kill hit: everything that was under way at that moment counts. */
export interface Hits {
  kills: number;
  submit: number;
  claim: number;
  run: number;
  report: number;
}

export interface ChaosResult extends Verdict {
  readonly server: Hits;
  readonly worker: Hits;
  readonly stopped: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly clockJumps: number;
  readonly seconds: number;
}

const noHits = (): Hits => ({ kills: 0, submit: 0, claim: 0, run: 0, report: 0 });

interface Machine {
  readonly directory: string;
  readonly proxy: FaultyProxy;
  readonly client: Client;
  readonly witness: Witness;
  readonly servers: Map<number, { port: number; child: ChildProcess }>;
  readonly workers: Map<number, ChildProcess>;
  readonly random: () => number;
  stopping: boolean;
}

/** Lets servers and workers be killed and connections fail at random while tasks are submitted and run; then compares what the system says with what the witness saw. */
export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const begun = performance.now();
  const directory = mkdtempSync(join(tmpdir(), 'pilotage-chaos-'));
  const random = seededRandom(options.seed);
  const proxy = await startFaultyProxy((kind) => chooseFault(kind, random()));
  const token = () =>
    existsSync(join(directory, 'server0', 'admin-token'))
      ? readFileSync(join(directory, 'server0', 'admin-token'), 'utf8').trim()
      : undefined;
  const client = createClient(httpTransport({ url: proxy.url }), token);
  const machine: Machine = {
    directory,
    proxy,
    client,
    witness: createWitness(directory),
    servers: new Map(),
    workers: new Map(),
    random,
    stopping: false,
  };
  const result = { server: noHits(), worker: noHits(), stopped: 0, clockJumps: 0 };
  if (options.jumpingClock) writeFileSync(join(directory, 'clock'), '+0');
  for (let i = 0; i < options.servers; i += 1) await startServer(machine, options, i);
  for (let i = 0; i < options.workers; i += 1) startWorker(machine, i);

  const submitting = submitMany(machine, options, begun);
  const killing = [
    killServers(machine, options, result.server),
    killWorkers(machine, result.worker, () => (result.stopped += 1)),
    ...(options.jumpingClock ? [jump(machine, () => (result.clockJumps += 1))] : []),
  ];
  await submitting;
  options.say(`${machine.witness.read().acknowledged.size} submissions are acknowledged; waiting for the last results`);
  // What is left is run without further kills, but over the same bad connections.
  machine.stopping = true;
  await Promise.all(killing);
  const verdict = await compare(client, machine.witness, options.say);
  await endAll(machine);
  const faults = { ...proxy.counts };
  await proxy.close();
  client.close();
  if (verdict.wrong.length === 0) rmSync(directory, { recursive: true, force: true });
  else options.say(`what was found is kept in ${directory}`);
  return { ...verdict, ...result, faults, seconds: (performance.now() - begun) / 1000 };
}

function chooseFault(kind: string, dice: number): Fault {
  if (kind === 'other') return 'none';
  if (dice < 0.02) return 'cut-request';
  if (dice < 0.05) return 'lose-reply';
  if (dice < 0.08) return 'repeat';
  return dice < 0.085 ? 'stall' : 'none';
}

async function startServer(machine: Machine, options: ChaosOptions, index: number): Promise<void> {
  const port = machine.servers.get(index)?.port ?? (await freePort());
  const args = [
    'serve',
    '--data',
    join(machine.directory, `server${index}`),
    '--listen',
    `127.0.0.1:${port}`,
    '--heartbeat',
    '1s',
    '--lease',
    '4s',
    // Files that nothing refers to go at once: what is lost by that is noticed.
    '--blob-grace',
    '10s',
    '--blobs',
    join(machine.directory, 'blobs'),
  ];
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    ...(options.database ? { PILOTAGE_DATABASE: options.database } : {}),
    ...clockEnvironment(machine, options),
  };
  const child = spawn(PILOTAGE, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  child.stderr?.on('data', (chunk: Buffer) => appendFileSync(join(machine.directory, `server${index}.log`), chunk));
  machine.servers.set(index, { port, child });
  await waitUntil(`server ${index} to answer`, () => answers(port), 60);
  machine.proxy.aim(port);
}

function clockEnvironment(machine: Machine, options: ChaosOptions): NodeJS.ProcessEnv {
  if (!options.jumpingClock) return {};
  // Timers go by the monotonic clock, which no administrator sets: only the wall clock jumps.
  return {
    LD_PRELOAD: options.jumpingClock,
    FAKETIME_TIMESTAMP_FILE: join(machine.directory, 'clock'),
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    DONT_FAKE_MONOTONIC: '1',
  };
}

async function answers(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/healthz`)).ok;
  } catch {
    return false;
  }
}

function startWorker(machine: Machine, index: number): void {
  const args = [
    'worker',
    '--server',
    machine.proxy.url,
    '--token-file',
    join(machine.directory, 'server0', 'admin-token'),
    '--slots',
    '2',
    '--cache',
    join(machine.directory, `work${index}`),
    '--name',
    `chaos${index}`,
  ];
  const child = spawn(PILOTAGE, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  child.stderr?.on('data', (chunk: Buffer) => appendFileSync(join(machine.directory, `worker${index}.log`), chunk));
  machine.workers.set(index, child);
}

const SUBMITTERS = 3;
const PER_SUBMISSION = 10;
/** The queue is kept short, so that submitting goes on as long as the killing. */
const LONGEST_QUEUE = 300;

async function submitMany(machine: Machine, options: ChaosOptions, begun: number): Promise<void> {
  let submitted = 0;
  const submitter = async () => {
    while (submitted < options.tasks || performance.now() - begun < options.seconds * 1000) {
      const requestId = `chaos-request-${submitted}`;
      submitted += PER_SUBMISSION;
      const items = Array.from({ length: PER_SUBMISSION }, () => ({
        payload: { pause: (machine.random() * 0.15).toFixed(3) },
      }));
      const input = machine.random() < WITH_FILES ? `input-of-${requestId}` : undefined;
      const spec = {
        command: [...machine.witness.command],
        retry: { limit: 1000, backoffSeconds: 0, lostLimit: 1000, endedLimit: 1000 },
        ...(input === undefined ? {} : await filesOf(machine.client, input)),
      };
      const bring = async () => (input === undefined ? {} : filesOf(machine.client, input));
      const id = await submitUntilAcknowledged(machine.client, { requestId, steps: [{ spec, items }] }, bring);
      machine.witness.acknowledged(id, PER_SUBMISSION, input);
      while ((await unfinished(machine.client)) > LONGEST_QUEUE) await pause(50);
    }
  };
  await Promise.all(Array.from({ length: SUBMITTERS }, submitter));
}

/** Some tasks have an input file and leave an output. */
const WITH_FILES = 0.4;

async function filesOf(client: Client, input: string): Promise<object> {
  const bytes = Buffer.from(`${input}\n`);
  const digest = createHash('sha256').update(bytes).digest('hex');
  const params = { project: 'default', digest };
  const headers = { 'content-length': String(bytes.length) };
  const put = () =>
    client.call(routes.putBlob, { params, raw: Readable.from([bytes]), headers, timeoutSeconds: 10 }).then(() => true);
  while (!(await put().catch(ignoreOutage))) await pause(50);
  return { inputs: [{ name: 'in.txt', digest, kind: 'file' }], outputs: [{ pattern: 'out.txt' }] };
}

async function submitUntilAcknowledged(
  client: Client,
  body: object,
  bringAgain: () => Promise<unknown>,
): Promise<number> {
  for (;;) {
    const reply = await client.call(routes.submit, { body: body as never, timeoutSeconds: 10 }).catch(async (error) => {
      if (!(error instanceof PilotageError && error.code === 'not-found')) return ignoreOutage(error);
      // Servers were away for longer than a file waits for its submission.
      await bringAgain();
      return undefined;
    });
    if (reply) return reply.submissions[0]?.id as number;
    await pause(50);
  }
}

async function unfinished(client: Client): Promise<number> {
  const status = await client.call(routes.status, { timeoutSeconds: 5 }).catch(ignoreOutage);
  return status ? status.counts.queued + status.counts.running + status.counts.waiting : 0;
}

async function killServers(machine: Machine, options: ChaosOptions, hits: Hits): Promise<void> {
  while (!machine.stopping) {
    await pause(200 + machine.random() * 1500);
    const index = Math.floor(machine.random() * options.servers);
    await rightMoment(machine);
    if (machine.stopping || !note(machine, hits)) continue;
    const server = machine.servers.get(index);
    server?.child.kill('SIGKILL');
    await exited(server?.child);
    const other = [...machine.servers.entries()].find(([at]) => at !== index);
    if (other) machine.proxy.aim(other[1].port);
    await startServer(machine, options, index);
  }
}

async function killWorkers(machine: Machine, hits: Hits, stopped: () => void): Promise<void> {
  const hanging = new Set<number>();
  const hang = async (index: number, worker: ChildProcess) => {
    hanging.add(index);
    stopped();
    worker.kill('SIGSTOP');
    await pause(LONGER_THAN_LEASE_MS);
    worker.kill('SIGCONT');
    hanging.delete(index);
  };
  const hangs: Promise<void>[] = [];
  while (!machine.stopping) {
    await pause(200 + machine.random() * 1200);
    const index = Math.floor(machine.random() * machine.workers.size);
    const worker = machine.workers.get(index);
    if (machine.stopping || !worker || hanging.has(index)) continue;
    if (machine.random() < 0.1) {
      // It comes back to what became of its tasks.
      hangs.push(hang(index, worker));
      continue;
    }
    await rightMoment(machine);
    if (!note(machine, hits)) continue;
    worker.kill('SIGKILL');
    await exited(worker);
    startWorker(machine, index);
  }
  await Promise.all(hangs);
}

const LONGER_THAN_LEASE_MS = 5500;
const LONGEST_WAIT_MS = 1500;

/** Submits and reports are over in milliseconds: three kills in four wait for the moment at which they hit a certain thing. */
async function rightMoment(machine: Machine): Promise<void> {
  const wanted = (['submit', 'claim', 'report', 'any'] as const)[Math.floor(machine.random() * 4)];
  if (wanted === undefined || wanted === 'any') return;
  const deadline = performance.now() + LONGEST_WAIT_MS;
  while (machine.proxy.inFlight[wanted] === 0 && performance.now() < deadline && !machine.stopping) await pause(1);
}

/** Counts a kill by what is under way; false when nothing is. */
function note(machine: Machine, hits: Hits): boolean {
  const { submit, claim, report } = machine.proxy.inFlight;
  const { started, ended } = machine.witness.read();
  const run = started.size > ended.size;
  if (!run && submit + report === 0) return false;
  hits.kills += 1;
  if (submit > 0) hits.submit += 1;
  if (claim > 0) hits.claim += 1;
  if (report > 0) hits.report += 1;
  if (run) hits.run += 1;
  return true;
}

async function jump(machine: Machine, jumped: () => void): Promise<void> {
  while (!machine.stopping) {
    await pause(1000 + machine.random() * 3000);
    const hours = Math.round((machine.random() * 4 - 2) * 3600);
    writeFileSync(join(machine.directory, 'clock'), `${hours >= 0 ? '+' : ''}${hours}`);
    jumped();
  }
}

async function endAll(machine: Machine): Promise<void> {
  for (const worker of machine.workers.values()) worker.kill('SIGTERM');
  await Promise.all([...machine.workers.values()].map(exited));
  for (const { child } of machine.servers.values()) child.kill('SIGTERM');
  await Promise.all([...machine.servers.values()].map(({ child }) => exited(child)));
}

function exited(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => child.once('exit', () => resolve()));
}
