import { spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import { attend, type Order } from './attend.ts';
import { LOADER } from './command-line.ts';
import { brokenOff, closed } from './failures.ts';
import { type Ended, openShell, type Shell } from './shell.ts';
import type { Transport } from './transport.ts';
import { transportOver } from './transport-over.ts';

export interface LocalOptions {
  /** What scripts see. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** This machine: a /bin/sh for each command, in a process group of its own. */
export function localTransport(options: LocalOptions): Transport {
  const machine = 'localhost';
  const open = new Set<Shell>();
  let commands = 0;
  let isClosed = false;

  const execute = async (order: Order): Promise<Ended> => {
    if (isClosed) throw closed(machine);
    const shell = startHere(options.environment);
    open.add(shell);
    commands += 1;
    try {
      const outcome = await attend(shell, order, machine);
      if (outcome.is === 'ended') return outcome;
      throw brokenOff(machine, outcome);
    } finally {
      open.delete(shell);
      shell.end();
    }
  };
  return transportOver({
    machine,
    tries: 1,
    reach: {
      execute,
      connect: async () => {},
      stats: () => ({ connections: 0, commands }),
      close: async () => {
        isClosed = true;
        const shells = [...open];
        for (const shell of shells) shell.kill();
        await Promise.all(shells.map((shell) => shell.closed));
      },
    },
  });
}

function startHere(environment: LocalOptions['environment']): Shell {
  return openShell(
    spawn('/bin/sh', ['-c', LOADER], {
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: environment,
      cwd: homeOf(environment.HOME),
    }),
  );
}

/** As a login would: the home directory, or the root where there is none. */
function homeOf(home: string | undefined): string {
  return home !== undefined && statSync(home, { throwIfNoEntry: false })?.isDirectory() ? home : '/';
}
