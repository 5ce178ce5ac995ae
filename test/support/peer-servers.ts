import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { onTestFinished } from 'vitest';
import type { PeerDetail, PeerList, PeerView } from '../../src/ground/protocol/peer.ts';
import type { TaskDetail } from '../../src/ground/protocol/task.ts';
import { freePort } from './free-port.ts';
import type { NetHost } from './network-hosts.ts';
import { type CommandOptions, type Ran, type Running, startCommand } from './running-server.ts';
import { waitUntil } from './wait-until.ts';

export interface PeerOptions {
  /** A machine of its own; else this one. */
  readonly host?: NetHost;
  readonly port?: number;
  readonly flags?: readonly string[];
  /** It is the same server to neighbours as this one, which has the same database. */
  readonly sameAs?: PeerServer;
}

/** A server that may have neighbours. */
export interface PeerServer {
  readonly name: string;
  readonly data: string;
  /** Where it listens (now). */
  address(): string;
  port(): number;
  readonly pid: number | undefined;
  run(argv: readonly string[], options?: CommandOptions): Promise<Ran>;
  command(argv: readonly string[], options?: CommandOptions): Running;
  json<T>(argv: readonly string[], options?: CommandOptions): Promise<T>;
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Without waiting for anything: SIGSTOP, SIGCONT. */
  signal(signal: NodeJS.Signals): void;
  /** Again, on the same data, elsewhere if told. */
  start(options?: Pick<PeerOptions, 'port' | 'flags'> & { readonly listen?: string }): Promise<void>;
  worker(flags?: readonly string[]): Running;
  /** What it logged since it was started last. */
  log(): string;
  peers(): Promise<PeerView[]>;
  id(): Promise<string>;
}

/** Short times, so that leases run out within a test. */
export const SHORT = ['--heartbeat', '1s', '--lease', '4s'];

/** A server with a name of its own, gone with the test. */
export async function startPeer(name: string, options: PeerOptions = {}): Promise<PeerServer> {
  const data = mkdtempSync(path.join(tmpdir(), `pilotage-${name}-`));
  const exec = options.host?.exec ?? [];
  const { sameAs } = options;
  if (sameAs) await copyIdentity(sameAs.data, data);
  let { flags = [] } = options;
  let listen = options.host?.address ?? '127.0.0.1';
  let port = options.port ?? (options.host ? 9990 : await freePort());
  let server = launch();
  const others: Running[] = [];

  function launch(): Running {
    const safe = listen === '127.0.0.1' ? [] : ['--insecure'];
    const argv = [
      'serve',
      '--data',
      data,
      '--name',
      name,
      '--listen',
      `${listen}:${port}`,
      ...safe,
      ...SHORT,
      ...flags,
    ];
    return startCommand(argv, { exec, env: { PILOTAGE_DATA: data } });
  }
  const ready = () =>
    waitUntil(`server ${name} answers`, async () => {
      if (server.child.exitCode !== null) throw new Error(`server ${name} ended: ${server.stderr()}`);
      return server.stdout().includes('Ctrl-C ends it');
    });
  const command = (argv: readonly string[], more: CommandOptions = {}): Running =>
    startCommand(argv, { exec, ...more, env: { PILOTAGE_DATA: data, ...more.env } });
  const kill = async (signal: NodeJS.Signals = 'SIGKILL'): Promise<void> => {
    // In a namespace the child is 'ip', which becomes the program: the same process.
    server.child.kill('SIGCONT');
    server.child.kill(signal);
    await server.done;
  };
  onTestFinished(async () => {
    for (const one of others) {
      one.child.kill('SIGCONT');
      one.child.kill('SIGKILL');
    }
    await kill();
    rmSync(data, { recursive: true, force: true });
  });
  await ready();
  const json = async <T>(argv: readonly string[], more?: CommandOptions): Promise<T> => {
    const { code, stdout, stderr } = await command(['--json', ...argv], more).done;
    if (code !== 0) throw new Error(`at ${name} pilotage ${argv.join(' ')} ended with ${code}: ${stderr}`);
    return JSON.parse(stdout) as T;
  };
  return {
    name,
    data,
    address: () => listen,
    port: () => port,
    get pid() {
      return server.child.pid;
    },
    command,
    run: (argv, more) => command(argv, more).done,
    json,
    kill,
    signal: (signal) => void server.child.kill(signal),
    async start(next = {}) {
      port = next.port ?? port;
      listen = next.listen ?? listen;
      flags = next.flags ?? flags;
      server = launch();
      await ready();
    },
    worker(more = []) {
      const where = JSON.parse(readFileSync(path.join(data, 'server.json'), 'utf8')) as { url: string };
      const cache = mkdtempSync(path.join(tmpdir(), 'pilotage-work-'));
      const argv = ['worker', '--server', where.url, '--token-file', path.join(data, 'admin-token')];
      const worker = startCommand([...argv, '--cache', cache, '--slots', '2', ...more], { exec });
      others.push(worker);
      return worker;
    },
    log: () => server.stderr(),
    peers: async () => (await json<PeerList>(['peer', 'list'])).peers,
    id: async () => (await json<PeerList>(['peer', 'list'])).self.id,
  };
}

/** It is made soon after a server's first start. */
async function copyIdentity(from: string, to: string): Promise<void> {
  for (const file of ['peer-key.pem', 'peer-cert.pem', 'link-key']) {
    await waitUntil(`${file} is there`, () => existsSync(path.join(from, file)));
    copyFileSync(path.join(from, file), path.join(to, file));
  }
}

/** `a` asks, `b` trusts, and there is a link. */
export async function makeNeighbours(a: PeerServer, b: PeerServer): Promise<void> {
  await a.json(['peer', 'connect', b.address(), String(b.port())]);
  await b.json(['peer', 'trust', a.name]);
  await connected(a, b);
}

export async function connected(a: PeerServer, b: PeerServer, seconds = 30): Promise<void> {
  for (const [one, other] of [
    [a, b],
    [b, a],
  ] as const)
    await waitUntil(
      `${one.name} has a link to ${other.name}`,
      async () => (await one.peers()).some(({ name, state }) => name === other.name && state === 'connected'),
      seconds,
    );
}

export const stateAt = async (server: PeerServer, name: string): Promise<PeerView['state'] | undefined> =>
  (await server.peers()).find((peer) => peer.name === name)?.state;

export const submitAt = async (server: PeerServer, ...argv: string[]): Promise<string> =>
  String((await server.json<{ id: number }>(['submit', ...argv])).id);

export const taskAt = (server: PeerServer, id: string): Promise<TaskDetail> => server.json<TaskDetail>(['task', id]);

export const taskBecomes = (server: PeerServer, id: string, state: string, seconds = 60): Promise<TaskDetail> =>
  waitUntil(
    `task ${id} of ${server.name} is ${state}`,
    async () => {
      const task = await taskAt(server, id);
      return task.state === state ? task : undefined;
    },
    seconds,
  );

export const showPeer = (server: PeerServer, name: string): Promise<PeerDetail> => server.json(['peer', 'show', name]);
