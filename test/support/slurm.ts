import { rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  ENGINES,
  enter,
  hasEntered,
  killBelow,
  leave,
  nameThisHost,
  pidOf,
  run,
  stopDaemon,
  succeeds,
  underLock,
} from './daemon-engine.ts';
import { missing, type Needed } from './debian.ts';
import { freePort } from './free-port.ts';
import { layOutSlurm, needInterface, type SlurmPlace, unlinkSlurm } from './slurm-files.ts';
import { makeUser } from './ssh-accounts.ts';
import { waitUntil } from './wait-until.ts';

export const SLURM: Needed = {
  program: '/usr/sbin/slurmctld',
  packages: ['munge', 'slurmctld', 'slurmd', 'slurm-client', 'slurm-wlm-basic-plugins'],
};

export interface SlurmCluster {
  /** Of the user's environment: names the cluster's configuration. The shared one is found without. */
  readonly environment: Readonly<Record<string, string>>;
  /** The ordinary user who submits. */
  readonly user: string;
  readonly pid: number;
  /** The controller hangs: clients wait. On a cluster of your own only. */
  pause(): void;
  resume(): void;
  /** The controller is gone: clients are refused. On a cluster of your own only. */
  stopController(signal?: NodeJS.Signals): Promise<void>;
  startController(): Promise<void>;
  /** Of a cluster of your own. The shared one is ended by the run. */
  stop(): Promise<void>;
}

/** Why there is no Slurm here, or undefined. Under CI that throws. */
export function missingSlurm(): string | undefined {
  if (process.getuid?.() === 0) return missing(SLURM);
  if (process.env.CI) throw new Error('the tests with Slurm take root');
  return 'it takes root';
}

/**
 * Slurm with one node, `node1`, of 4 cpus; partitions `main` (the default) and `short`. The shared cluster, which every
 * user of the machine finds without being told, is started where it does not run yet; `own` makes one for faults.
 */
export async function startSlurm(options: { own?: string; minJobAgeSeconds?: number } = {}): Promise<SlurmCluster> {
  const { own, minJobAgeSeconds = 300 } = options;
  const name = own ? `slurm-${own}-${process.pid}` : 'slurm';
  const started = async (): Promise<SlurmCluster> => {
    const { user } = makeUser('/bin/bash');
    if (!own) enter('slurm');
    const ports = own ? [await freePort(), await freePort()] : [26817, 26818];
    const place = { directory: join(ENGINES, name), controllerPort: ports[0]!, nodePort: ports[1]!, minJobAgeSeconds };
    if (!isReady(place)) await startDaemons(place, !own);
    return toCluster(place, user, own !== undefined);
  };
  return own ? started() : underLock('slurm', started);
}

/** At the end of a run: the shared cluster, if no other run uses it. */
export async function leaveSlurm(): Promise<void> {
  if (!hasEntered('slurm')) return;
  await underLock('slurm', async () => {
    if (!leave('slurm')) return;
    await stopDaemons(join(ENGINES, 'slurm'));
    unlinkSlurm();
  });
}

function toCluster(place: SlurmPlace, user: string, isOwn: boolean): SlurmCluster {
  const file = controllerFile(place.directory);
  const pid = (): number => pidOf(file, 'slurmctld') ?? 0;
  return {
    environment: isOwn ? { SLURM_CONF: confOf(place) } : {},
    user,
    get pid() {
      return pid();
    },
    pause: () => void process.kill(pid(), 'SIGSTOP'),
    resume: () => void process.kill(pid(), 'SIGCONT'),
    stopController: (signal = 'SIGKILL') => stopDaemon(file, 'slurmctld', signal),
    startController: async () => {
      startController(place);
      await becomesReady(place);
    },
    stop: async () => {
      if (!isOwn) return;
      await stopDaemons(place.directory);
      rmSync(place.directory, { recursive: true, force: true });
    },
  };
}

async function startDaemons(place: SlurmPlace, isShared: boolean): Promise<void> {
  const { directory } = place;
  await stopDaemons(directory);
  nameThisHost();
  needInterface();
  layOutSlurm(place, isShared);
  const munge = join(directory, 'munge');
  const files = [
    'key-file:munge.key',
    'socket:munge.sock',
    'pid-file:munged.pid',
    'log-file:munged.log',
    'seed-file:munged.seed',
  ];
  const flags = files.map((pair) => `--${pair.replace(':', `=${munge}/`)}`);
  run('setpriv', [...as('munge'), '/usr/sbin/munged', ...flags, '--force'], detached);
  await waitUntil('munge to answer', () => succeeds('munge', ['-S', join(munge, 'munge.sock'), '-n']), 10);
  startController(place);
  run('slurmd', ['-f', confOf(place)], detached);
  await becomesReady(place).catch(() => {
    // A node that an earlier kill left down is brought back by hand.
    run('scontrol', ['update', 'nodename=node1', 'state=resume'], { env: clientEnvironment(place) });
    return becomesReady(place);
  });
}

/** They fork by themselves; their output is theirs, not that of the test. */
const detached = { stdio: 'ignore', cwd: '/' } as const;

function startController(place: SlurmPlace): void {
  run('setpriv', [...as('slurm'), 'slurmctld', '-f', confOf(place)], detached);
}

async function becomesReady(place: SlurmPlace): Promise<void> {
  await waitUntil('node1 of Slurm to be ready', () => isReady(place), 15);
}

function isReady(place: SlurmPlace): boolean {
  if (pidOf(controllerFile(place.directory), 'slurmctld') === undefined) return false;
  const options = { env: clientEnvironment(place), timeout: 5000 };
  try {
    const state = run('sinfo', ['-h', '-N', '-p', 'main', '-o', '%T', '-n', 'node1'], options).trim();
    return ['idle', 'mixed', 'allocated', 'completing'].includes(state);
  } catch {
    return false;
  }
}

async function stopDaemons(directory: string): Promise<void> {
  await stopDaemon(join(directory, 'slurmd/slurmd.pid'), 'slurmd', 'SIGKILL');
  await stopDaemon(controllerFile(directory), 'slurmctld');
  await stopDaemon(join(directory, 'munge/munged.pid'), 'munged');
  killBelow(join(directory, 'slurmd'));
  // What Slurm remembers of another run is no use to this one.
  rmSync(directory, { recursive: true, force: true });
}

function clientEnvironment(place: SlurmPlace): NodeJS.ProcessEnv {
  return { ...process.env, SLURM_CONF: confOf(place) };
}

function confOf({ directory }: SlurmPlace): string {
  return join(directory, 'slurm.conf');
}

function controllerFile(directory: string): string {
  return join(directory, 'controller/slurmctld.pid');
}

function as(user: string): string[] {
  return [`--reuid=${user}`, `--regid=${user}`, '--clear-groups'];
}
