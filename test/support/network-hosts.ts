/** Machines of a cluster as network namespaces on one bridge: links of a given speed, bytes counted at each. Takes root. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { missing } from './debian.ts';

export interface Netlab {
  /** The test's own address on the bridge. */
  readonly address: string;
  readonly hosts: readonly NetHost[];
  /** Ends what runs there, and removes all of it. */
  close(): void;
}

export interface NetHost {
  readonly name: string;
  readonly address: string;
  /** What a command line begins with to run there. */
  readonly exec: readonly string[];
  /** Bytes that went into it and came out of it, as its link counted them. */
  bytes(): { in: number; out: number };
  /** Both ways, in bits per second. */
  limit(bitsPerSecond: number): void;
  /** Its link is down. */
  cut(): void;
  /** Its link is up again. */
  mend(): void;
  /** A firewall: nobody can open a connection to it; its own go through. */
  refuseInbound(): void;
  allowInbound(): void;
}

const PROGRAMS = [
  { program: '/usr/sbin/ip', packages: ['iproute2'] },
  { program: '/usr/sbin/tc', packages: ['iproute2'] },
  { program: '/usr/sbin/nft', packages: ['nftables'] },
];

/** Why there can be no network namespaces here, or undefined. */
export function missingNetwork(): string | undefined {
  if (process.getuid?.() !== 0) return 'it takes root';
  return PROGRAMS.map(missing).find(Boolean) ?? tryNamespace();
}

/** So many hosts on one bridge. Names and addresses are of this process alone. */
export function openNetlab(count: number): Netlab {
  const id = process.pid.toString(36);
  const subnet = `10.${64 + (process.pid % 64)}.${Math.floor(process.pid / 64) % 256}`;
  const bridge = `pb${id}`;
  const names = Array.from({ length: count }, (_, at) => `pn${id}x${at + 1}`);
  const close = (): void => {
    for (const name of names) {
      for (const pid of (attempt('ip', 'netns', 'pids', name) ?? '').split('\n').filter(Boolean)) kill(Number(pid));
      attempt('ip', 'link', 'del', `v${name}`);
      attempt('ip', 'netns', 'del', name);
    }
    attempt('ip', 'link', 'del', bridge);
  };
  try {
    run('ip', 'link', 'add', bridge, 'type', 'bridge');
    run('ip', 'addr', 'add', `${subnet}.254/24`, 'dev', bridge);
    run('ip', 'link', 'set', bridge, 'up');
    const hosts = names.map((name, at) => addHost(name, { bridge, address: `${subnet}.${at + 1}` }));
    return { address: `${subnet}.254`, hosts, close };
  } catch (error) {
    close();
    throw error;
  }
}

function addHost(name: string, { bridge, address }: { bridge: string; address: string }): NetHost {
  const outside = `v${name}`;
  run('ip', 'netns', 'add', name);
  run('ip', 'link', 'add', outside, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
  run('ip', 'link', 'set', outside, 'master', bridge, 'up');
  run('ip', '-n', name, 'addr', 'add', `${address}/24`, 'dev', 'eth0');
  run('ip', '-n', name, 'link', 'set', 'lo', 'up');
  run('ip', '-n', name, 'link', 'set', 'eth0', 'up');
  const counted = (what: string): number =>
    Number(readFileSync(`/sys/class/net/${outside}/statistics/${what}`, 'utf8'));
  return {
    name,
    address,
    exec: ['ip', 'netns', 'exec', name],
    // The outer end sends what the host gets.
    bytes: () => ({ in: counted('tx_bytes'), out: counted('rx_bytes') }),
    limit: (bitsPerSecond) => {
      const how = ['root', 'tbf', 'rate', `${bitsPerSecond}bit`, 'burst', '256kb', 'latency', '100ms'];
      run('tc', 'qdisc', 'replace', 'dev', outside, ...how);
      run('tc', '-n', name, 'qdisc', 'replace', 'dev', 'eth0', ...how);
    },
    cut: () => run('ip', '-n', name, 'link', 'set', 'eth0', 'down'),
    mend: () => run('ip', '-n', name, 'link', 'set', 'eth0', 'up'),
    refuseInbound: () => {
      const chain = 'add chain inet wall in { type filter hook input priority 0 ; }';
      for (const rule of [
        'add table inet wall',
        chain,
        'add rule inet wall in iifname eth0 tcp flags & (syn|ack) == syn drop',
      ])
        run('ip', 'netns', 'exec', name, 'nft', rule);
    },
    allowInbound: () => run('ip', 'netns', 'exec', name, 'nft', 'delete table inet wall'),
  };
}

function tryNamespace(): string | undefined {
  const name = `pt${process.pid.toString(36)}`;
  if (attempt('ip', 'netns', 'add', name) === undefined) return 'the system does not let this process make any';
  attempt('ip', 'netns', 'del', name);
  return existsSync('/sys/class/net') ? undefined : 'there is no /sys/class/net';
}

function run(program: string, ...args: string[]): void {
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

function attempt(program: string, ...args: string[]): string | undefined {
  try {
    return execFileSync(program, args, { stdio: ['ignore', 'pipe', 'ignore'], encoding: 'utf8' });
  } catch {
    return undefined;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}
