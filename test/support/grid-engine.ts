import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
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
import { configureGridEngine, layOutGridEngine, MARKER, ROOT, removeGridEngine, SPOOL } from './grid-engine-files.ts';
import { makeUser } from './ssh-accounts.ts';
import { waitUntil } from './wait-until.ts';

export const GRID_ENGINE: Needed = {
  program: '/usr/sbin/sge_qmaster',
  packages: ['gridengine-master', 'gridengine-exec', 'gridengine-client'],
  // The packages make the user and the directories; the cluster is made here (theirs holds the host's name of the day).
  answers: ['common', 'master', 'exec', 'client'].flatMap((part) => [
    `gridengine-${part} shared/gridengineconfig boolean false`,
    `gridengine-${part} shared/gridenginecell string default`,
    `gridengine-${part} shared/gridenginemaster string localhost`,
  ]),
};

export interface GridEngineCluster {
  /** The ordinary user who submits. */
  readonly user: string;
  readonly pid: number;
  /** The master hangs: clients wait. Other test files use it too, so not for longer than their patience. */
  pause(): void;
  resume(): void;
  /** As `pause`, but clients are refused. */
  stopMaster(signal?: NodeJS.Signals): Promise<void>;
  startMaster(): Promise<void>;
}

const DIRECTORY = join(ENGINES, 'grid-engine');
const MASTER = join(SPOOL, 'qmaster/qmaster.pid');
const EXEC = join(SPOOL, 'execd/localhost/execd.pid');
export const SGE_ENVIRONMENT = { SGE_ROOT: ROOT, SGE_CELL: 'default', SGE_SINGLE_LINE: '1' };
const environment = { ...process.env, ...SGE_ENVIRONMENT };

/** Why there is no Grid Engine here, or undefined. Under CI that throws. */
export function missingGridEngine(): string | undefined {
  if (process.getuid?.() === 0) return missing(GRID_ENGINE);
  if (process.env.CI) throw new Error('the tests with Grid Engine take root');
  return 'it takes root';
}

/**
 * Son of Grid Engine with one host, the queue `all.q` of 4 slots and the parallel environment `smp`. Debian's has its
 * place fixed, so there is one for each machine, which every user finds without being told.
 */
export async function startGridEngine(): Promise<GridEngineCluster> {
  return underLock('grid-engine', async () => {
    const { user } = makeUser('/bin/bash');
    enter('grid-engine');
    if (!isReady()) await startDaemons();
    return {
      user,
      get pid() {
        return masterPid();
      },
      pause: () => void process.kill(masterPid(), 'SIGSTOP'),
      resume: () => void process.kill(masterPid(), 'SIGCONT'),
      stopMaster: (signal = 'SIGKILL') => stopDaemon(MASTER, 'sge_qmaster', signal),
      startMaster,
    };
  });
}

/** At the end of a run: if no other run uses it. */
export async function leaveGridEngine(): Promise<void> {
  if (!hasEntered('grid-engine')) return;
  await underLock('grid-engine', async () => {
    if (!leave('grid-engine')) return;
    await stopDaemons();
    removeGridEngine(DIRECTORY);
  });
}

async function startDaemons(): Promise<void> {
  if (existsSync(join(SPOOL, 'spooldb/sge')) && !existsSync(MARKER)) {
    throw new Error(`this machine has a Grid Engine of its own in ${SPOOL}: the tests do not touch it`);
  }
  await stopDaemons();
  removeGridEngine(DIRECTORY);
  nameThisHost();
  for (const directory of [DIRECTORY, join(DIRECTORY, 'tmp')]) mkdirSync(directory, { recursive: true });
  chmodSync(join(DIRECTORY, 'tmp'), 0o1777);
  writeFileSync(MARKER, '');
  layOutGridEngine(DIRECTORY);
  await bootMaster();
  configureGridEngine(DIRECTORY, environment);
  // Becomes a daemon by itself; its user for jobs is theirs.
  run('sge_execd', [], { env: environment, stdio: 'ignore', cwd: '/' });
  await waitUntil('all.q@localhost to be ready', isReady, 30);
}

/** Jobs that ran meanwhile ran on; the host is known again with its next report. */
async function startMaster(): Promise<void> {
  await bootMaster();
  await waitUntil('all.q@localhost to be known again', isReady, 60);
}

async function bootMaster(): Promise<void> {
  run('sge_qmaster', [], { env: environment, stdio: 'ignore', cwd: '/' });
  await waitUntil('sge_qmaster to answer', () => succeeds('qconf', ['-sh'], { env: environment }), 20);
}

/** KILL: on TERM the master takes 7 s, and its spool is thrown away. */
async function stopDaemons(): Promise<void> {
  await stopDaemon(EXEC, 'sge_execd', 'SIGKILL');
  await stopDaemon(MASTER, 'sge_qmaster', 'SIGKILL');
  killBelow(join(SPOOL, 'execd'));
  rmSync(MASTER, { force: true });
  rmSync(EXEC, { force: true });
}

function masterPid(): number {
  return pidOf(MASTER, 'sge_qmaster') ?? 0;
}

/** A line of `qstat -f`, with a load and without a letter for what is wrong. */
function isReady(): boolean {
  if (masterPid() === 0 || pidOf(EXEC, 'sge_execd') === undefined || !existsSync(MARKER)) return false;
  try {
    const text = run('qstat', ['-f', '-q', 'all.q@localhost'], { env: environment, timeout: 5000 });
    const [, , , load, , states] =
      text
        .split('\n')
        .find((line) => line.startsWith('all.q@'))
        ?.trim()
        .split(/\s+/) ?? [];
    return load !== undefined && load !== '-NA-' && states === undefined;
  } catch {
    return false;
  }
}
