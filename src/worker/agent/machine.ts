import type { Site } from '../../ground/protocol/site.ts';
import { createGridEngine } from '../scheduler/grid-engine/grid-engine.ts';
import { createProcessScheduler } from '../scheduler/process/process.ts';
import type { BatchRef, BatchStatus, CancelOutcome, Scheduler } from '../scheduler/scheduler.ts';
import { createSlurm } from '../scheduler/slurm/slurm.ts';
import { type Archiver, findArchiver } from '../staging/jobball/remote-archive.ts';
import { localTransport } from '../transport/local-transport.ts';
import type { AskCredential } from '../transport/ssh/credentials.ts';
import { sshTransport } from '../transport/ssh/ssh-transport.ts';
import type { Transport } from '../transport/transport.ts';
import { gather } from './gather.ts';

/** One machine of a site, as one user: one connection, whatever the number of jobs. */
export interface Machine {
  readonly site: Site;
  readonly name: string;
  readonly transport: Transport;
  readonly scheduler: Scheduler;
  /** What it packs and unpacks with, looked for once. */
  archiver(): Promise<Archiver>;
  /** As the scheduler's, for one job: those that many jobs want at the same time go together. */
  cancelJob(job: BatchRef): Promise<CancelOutcome | undefined>;
  pollJob(job: BatchRef): Promise<BatchStatus | undefined>;
  /** Scheduler commands that were sent. */
  readonly counts: { polls: number; schedulerCommands: number };
}

export interface MachineOptions {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** For the sockets of ssh: a short path. */
  readonly controlDirectory: string;
  readonly ask: AskCredential;
  /** Fingerprints of host keys that somebody accepted. */
  readonly acceptHostKeys?: readonly string[];
}

export function openMachine(site: Site, name: string, user: string | undefined, options: MachineOptions): Machine {
  const { environment, controlDirectory, ask, acceptHostKeys } = options;
  const asUser = user ?? site.user;
  const transport =
    site.transport === 'local'
      ? localTransport({ environment })
      : sshTransport({
          machine: name,
          controlDirectory,
          environment,
          ask,
          timeoutMs: site.timeoutSeconds * 1000,
          tries: site.tries,
          multiplex: process.platform !== 'win32',
          ...(asUser === undefined ? {} : { user: asUser }),
          ...(site.sshConfig === undefined ? {} : { sshConfig: site.sshConfig }),
          ...(acceptHostKeys === undefined ? {} : { acceptHostKeys }),
        });
  const counts = { polls: 0, schedulerCommands: 0 };
  let found: Promise<Archiver> | undefined;
  const archiver = (): Promise<Archiver> => {
    found ??= findArchiver(transport).catch((error: unknown) => {
      found = undefined;
      throw error;
    });
    return found;
  };
  const scheduler = counting(schedulerOf(site), counts);
  return { site, name, transport, scheduler, archiver, counts, ...oneByOne(scheduler, transport) };
}

export function schedulerOf(site: Pick<Site, 'scheduler'>): Scheduler {
  switch (site.scheduler) {
    case 'process':
      return createProcessScheduler();
    case 'slurm':
      return createSlurm();
    case 'grid-engine':
      return createGridEngine();
  }
}

const POLL_SPACING_MS = 1000;

/** Processes are ended with a grace, for which others are not to wait; nobody else is asked about them either. */
function oneByOne(scheduler: Scheduler, transport: Transport): Pick<Machine, 'cancelJob' | 'pollJob'> {
  const poll = gather((jobs: readonly BatchRef[]) => scheduler.poll(transport, jobs), POLL_SPACING_MS);
  const cancelMany = (jobs: readonly BatchRef[]) => scheduler.cancel(transport, jobs);
  const cancel =
    scheduler.name === 'process' ? (job: BatchRef) => cancelMany([job]) : gather(cancelMany, POLL_SPACING_MS);
  return {
    cancelJob: async (job) => (await cancel(job)).get(job.id),
    pollJob: async (job) => (await poll(job)).get(job.id),
  };
}

/** Each call is one command to the scheduler, `cancel` two. */
function counting(scheduler: Scheduler, counts: Machine['counts']): Scheduler {
  const count = <A extends unknown[], R>(act: (...given: A) => R, commands = 1) => {
    return (...given: A): R => {
      counts.schedulerCommands += commands;
      return act(...given);
    };
  };
  return {
    name: scheduler.name,
    script: scheduler.script,
    submit: count(scheduler.submit),
    poll: count((...given: Parameters<Scheduler['poll']>) => {
      counts.polls += 1;
      return scheduler.poll(...given);
    }),
    find: count(scheduler.find),
    outcome: count(scheduler.outcome),
    cancel: count(scheduler.cancel, 2),
    check: count(scheduler.check),
    processes: count(scheduler.processes),
  };
}
