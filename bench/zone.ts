import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Client, createClient } from '../src/ground/client/client.ts';
import { httpTransport } from '../src/ground/client/http-transport.ts';
import { uploadFile } from '../src/ground/client/upload.ts';
import { routes } from '../src/ground/protocol/routes.ts';
import { missingNetwork, openNetlab } from '../test/support/network-hosts.ts';
import { exited } from './server.ts';

const PILOTAGE = join(import.meta.dirname, '../bin/pilotage');
const MIB = 1024 * 1024;

export interface ZoneFigures {
  /** Seconds until one machine has its input, and until eight have. */
  readonly oneSeconds: number;
  readonly allSeconds: number;
  /** Bytes that left the server for the eight, as a multiple of the input. */
  readonly copies: number;
}

export interface ZoneSize {
  readonly mib: number;
  readonly machines: number;
  readonly bitsPerSecond: number;
}

/** One input for the machines of a zone: a network namespace and a cache each, links of the same speed. Undefined where there can be no namespaces. */
export async function zone({ mib, machines, bitsPerSecond }: ZoneSize): Promise<ZoneFigures | undefined> {
  if (missingNetwork() !== undefined) return undefined;
  const directory = mkdtempSync(join(tmpdir(), 'pilotage-zone-'));
  const net = openNetlab(machines + 1);
  const [home, ...nodes] = net.hosts;
  if (!home) throw new Error('there is no machine');
  const started: ChildProcess[] = [];
  const start = (exec: readonly string[], ...args: string[]): ChildProcess => {
    const [program = '', ...rest] = [...exec, PILOTAGE, ...args];
    const child = spawn(program, rest, { stdio: 'ignore' });
    started.push(child);
    return child;
  };
  try {
    for (const host of net.hosts) host.limit(bitsPerSecond);
    const data = join(directory, 'data');
    start(home.exec, 'serve', '--data', data, '--listen', `${home.address}:0`, '--insecure');
    const client = await clientOf(data);
    for (const [at, node] of nodes.entries()) {
      const own = ['--token-file', join(data, 'admin-token'), '--slots', '1', '--zone', 'bench'];
      start(node.exec, 'worker', '--server', await urlOf(data), '--cache', join(directory, `cache${at}`), ...own);
    }
    while ((await client.call(routes.workers)).length < machines) await pause(100);
    const run = async (tasks: number) => {
      const digest = await upload(client, directory, mib);
      const [begun, before] = [performance.now(), home.bytes().out];
      const spec = { command: ['test', '-s', 'x'], inputs: [{ name: 'x', digest, kind: 'file' as const }] };
      const steps = [{ spec, array: { first: 1, last: tasks, step: 1 } }];
      const { submissions } = await client.call(routes.submit, { body: { steps } });
      const params = { id: submissions[0]?.id as number };
      const query = { waitSeconds: 50, finishedOnly: true };
      while (!(await client.call(routes.submission, { params, query })).finished);
      return { seconds: (performance.now() - begun) / 1000, bytes: home.bytes().out - before };
    };
    const one = await run(1);
    const all = await run(machines);
    client.close();
    return { oneSeconds: one.seconds, allSeconds: all.seconds, copies: all.bytes / (mib * MIB) };
  } finally {
    for (const child of started) child.kill('SIGKILL');
    await Promise.all(started.map(exited));
    net.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function urlOf(data: string): Promise<string> {
  const file = join(data, 'server.json');
  while (!existsSync(file)) await pause(50);
  return (JSON.parse(readFileSync(file, 'utf8')) as { url: string }).url;
}

async function clientOf(data: string): Promise<Client> {
  const url = await urlOf(data);
  const token = readFileSync(join(data, 'admin-token'), 'utf8').trim();
  return createClient(httpTransport({ url }), () => token);
}

/** From the test's own address, whose link is not limited but by the server's. */
async function upload(client: Client, directory: string, mib: number): Promise<string> {
  const file = join(directory, 'input');
  rmSync(file, { force: true });
  for (let written = 0; written < mib; written += 16) appendFileSync(file, randomBytes(Math.min(16, mib) * MIB));
  return (await uploadFile({ client, project: 'default' }, file)).digest;
}
