import type { Machine } from '../machine.ts';
import { JobFault } from '../steps/context.ts';
import type { Tunnel } from './pilot-job.ts';

const open = new WeakMap<Machine, Promise<Tunnel>>();
const TIMEOUT_MS = 60_000;

/**
 * One for all pilots of a machine, for as long as the agent lives. `before`: the one that pilots at work know from an
 * earlier agent; it is opened again under its port.
 */
export function tunnelTo(machine: Machine, serverUrl: string, before?: Tunnel): Promise<Tunnel> {
  const known = open.get(machine);
  if (known) return known;
  const opening = openTunnel(machine, serverUrl, before).catch((error: unknown) => {
    open.delete(machine);
    throw error;
  });
  open.set(machine, opening);
  return opening;
}

async function openTunnel({ transport, site, name }: Machine, serverUrl: string, before?: Tunnel): Promise<Tunnel> {
  if (!transport.forward)
    throw new JobFault(
      'start-failed',
      `there is no tunnel to '${name}': it takes a site that is reached by ssh, and an ssh that shares connections`,
    );
  const { hostname, port, protocol } = new URL(serverUrl);
  // Plain processes run on that very machine; what a batch system starts is on others.
  const isSameMachine = site.scheduler === 'process';
  const given = await transport.forward({
    bind: isSameMachine ? 'localhost' : '*',
    port: before?.port ?? 0,
    host: hostname.replace(/^\[|\]$/g, ''),
    hostPort: Number(port) || (protocol === 'https:' ? 443 : 80),
  });
  if (isSameMachine) return { host: '127.0.0.1', port: given };
  const { stdout } = await transport.run('hostname -f 2>/dev/null || uname -n', { timeoutMs: TIMEOUT_MS });
  return { host: stdout.trim().split('\n').at(-1) ?? name, port: given };
}
