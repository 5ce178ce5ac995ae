import { createHash } from 'node:crypto';
import { fillPlaceholders, valuesOf } from '../../ground/base/placeholders.ts';
import type { Executor, LiveAttempt, Log } from '../../ground/claimant/executor.ts';
import { keyOf } from '../../ground/claimant/spool.ts';
import type { Client } from '../../ground/client/client.ts';
import type { Claim, Offer, Report } from '../../ground/protocol/exchange.ts';
import type { SiteState } from '../../ground/protocol/job.ts';
import type { Site } from '../../ground/protocol/site.ts';
import type { TaskSpec } from '../../ground/protocol/spec.ts';
import { batchName } from '../scheduler/batch-name.ts';
import type { BatchName } from '../scheduler/scheduler.ts';
import { pause } from '../staging/retry.ts';
import type { Journal, JournalEntry } from './journal.ts';
import { type Machine, type MachineOptions, openMachine } from './machine.ts';
import type { PilotMeans } from './pilot/means.ts';
import { type SiteJob, type SiteJobOptions, startSiteJob } from './site-job.ts';
import type { EndPatience } from './steps/await-end.ts';
import { createTurns } from './turns.ts';
import { startWatch, type Watch, type WatchOptions } from './watch.ts';

export interface SiteExecutorOptions extends MachineOptions {
  readonly sites: readonly Site[];
  readonly client: Client;
  readonly journal: Journal;
  readonly log: Log;
  readonly onStopped: () => void;
  readonly watchTimes?: WatchOptions;
  readonly patience?: EndPatience;
  readonly pilots: PilotMeans;
}

export interface SiteUse {
  readonly site: string;
  readonly machine: string;
  readonly jobs: number;
  readonly connections: number;
  readonly commands: number;
  readonly schedulerCommands: number;
  readonly polls: number;
  readonly intervalMs: number;
}

export interface SiteExecutor extends Executor {
  /** Goes on with what an earlier agent had in its hands. */
  adopt(entry: JournalEntry): LiveAttempt | undefined;
  /** Somebody gave a password, or accepted a host key: jobs that wait for it try again. */
  loginTried(): void;
  stats(): SiteUse[];
  /** Ends nothing there. */
  detach(): Promise<void>;
}

/** What an agent holds at once, and how many of them have files on their way at once, for each machine. */
const MOST_JOBS = 1000;
const MOST_TRANSFERS = 8;
/** A login that failed is tried again by itself after so long, in case it was the machine's fault. */
const LOGIN_AGAIN_MS = 300_000;
/** A submission that is under way when the agent ends has so long to be answered; else the next agent looks for it by its name. */
const LET_GO_MS = 5000;
const PLENTY: Offer = { cpus: 1_000_000, memory: 2 ** 50, gpus: 100_000, named: {} };
export const AGENT_TOTAL = PLENTY;

interface Opened {
  readonly machine: Machine;
  readonly watch: Watch;
  /** Of its own: what waits for one machine keeps no other waiting. */
  readonly inTurn: SiteJobOptions['inTurn'];
}

/** Where a job is that nobody looks after. */
const PHASES: Readonly<Record<JournalEntry['phase'], SiteState['phase']>> = {
  staging: 'staging',
  submitting: 'submitting',
  submitted: 'running',
  ended: 'fetching',
  merging: 'merging',
  reported: 'merging',
};

export function createSiteExecutor(options: SiteExecutorOptions): SiteExecutor {
  const { sites, log } = options;
  const jobs = new Map<string, SiteJob>();
  const opened = new Map<string, Opened>();
  const loginWaiters = new Set<() => void>();
  let roomListener: () => void = () => {};
  let next = 0;

  const openFor = (site: Site, name: string, user: string | undefined): Opened => {
    const { transport, scheduler, staging } = site;
    const key = JSON.stringify([site.name, name, user ?? '', transport, scheduler, staging]);
    const known = opened.get(key);
    if (known) return known;
    const machine = openMachine(site, name, user, options);
    const inTurn = createTurns(MOST_TRANSFERS);
    const made = { machine, watch: startWatch(machine, options.watchTimes), inTurn };
    opened.set(key, made);
    return made;
  };
  const loginTried = (signal: AbortSignal): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, LOGIN_AGAIN_MS);
    loginWaiters.add(resolve);
    const stop = (): void => resolve();
    signal.addEventListener('abort', stop, { once: true });
    return promise.finally(() => {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
      loginWaiters.delete(resolve);
    });
  };
  /** The machine with the fewest jobs of ours. */
  const chooseMachine = (site: Site): string => {
    const use = (name: string): number => [...jobs.values()].filter(({ machine }) => machine.name === name).length;
    next += 1;
    const turned = site.machines.map((_, at) => site.machines[(at + next) % site.machines.length] as string);
    return turned.reduce((best, name) => (use(name) < use(best) ? name : best), turned[0] as string);
  };
  const startEntry = (entry: JournalEntry, site: Site): LiveAttempt => {
    const { machine, watch, inTurn } = openFor(site, entry.machine, entry.spec.site?.user);
    const settings: SiteJobOptions = {
      machine,
      watch,
      client: options.client,
      journal: options.journal,
      log,
      loginTried,
      inTurn,
      onStopped: options.onStopped,
      pilots: options.pilots,
      ...(options.patience ? { patience: options.patience } : {}),
    };
    const job = startSiteJob(entry, settings);
    const key = keyOf(entry.claim);
    jobs.set(key, job);
    void job.done.then(() => {
      jobs.delete(key);
      roomListener();
    });
    return job.live;
  };

  return {
    start(claim, spec) {
      const found = siteFor(sites, spec);
      if (typeof found === 'string') return refused(claim, found);
      const machine = spec.site?.machine ?? chooseMachine(found);
      const name = nameOf(claim);
      const { transport, scheduler, staging } = found;
      const manner = { transport, scheduler, staging };
      const filled = spec.site?.pilot ? spec : withValues(spec);
      return startEntry({ claim, spec: filled, name, machine, manner, phase: 'staging' }, found);
    },
    adopt(entry) {
      const found = sites.find(({ name }) => name === entry.spec.site?.name);
      if (found) return startEntry(entry, { ...found, ...entry.manner });
      log.error(
        { task: entry.claim.task, site: entry.spec.site?.name },
        'a job runs at a site that is no longer known here: add the site again, and start the agent anew',
      );
      const detail = `the site '${entry.spec.site?.name ?? ''}' is no longer known to its agent: describe it again, and start the agent anew`;
      const { machine, batchId } = entry;
      const site: SiteState = { phase: PHASES[entry.phase], machine, detail, ...(batchId ? { batchId } : {}) };
      return { ...waiting(), state: () => ({ site }) };
    },
    room: () => ({ offer: PLENTY, claims: Math.max(0, MOST_JOBS - jobs.size), ahead: 0, patient: false }),
    settled: (task, attempt) => jobs.get(keyOf({ task, attempt }))?.settled(),
    onRoom: (listener) => {
      roomListener = listener;
    },
    loginTried: () => {
      for (const tryAgain of loginWaiters) tryAgain();
    },
    stats: () =>
      [...opened.values()].map(({ machine, watch }) => ({
        site: machine.site.name,
        machine: machine.name,
        ...machine.transport.stats(),
        ...machine.counts,
        ...watch.stats(),
      })),
    async detach() {
      const letGo = Promise.all([...jobs.values()].map((job) => job.detach()));
      const isLate = new AbortController();
      await Promise.race([letGo, pause(LET_GO_MS, isLate.signal)]).finally(() => isLate.abort());
      // What asks a silent machine still ends with its connection.
      const closing = [...opened.values()].flatMap(({ machine, watch }) => [watch.close(), machine.transport.close()]);
      await Promise.all([letGo, ...closing]);
    },
  };
}

/** A job is one task: `{index}` is 1, and `{{` stands for itself. */
function withValues(spec: TaskSpec): TaskSpec {
  const fill = (text: string): string => fillPlaceholders(text, valuesOf(undefined, 1), (name) => `{${name}}`);
  return {
    ...spec,
    ...(spec.command ? { command: spec.command.map(fill) } : {}),
    ...(spec.env
      ? { env: Object.fromEntries(Object.entries(spec.env).map(([key, value]) => [key, fill(value)])) }
      : {}),
    ...(spec.inputs ? { inputs: spec.inputs.map((input) => ({ ...input, name: fill(input.name) })) } : {}),
    ...(spec.outputs ? { outputs: spec.outputs.map((output) => ({ ...output, pattern: fill(output.pattern) })) } : {}),
  };
}

/** Told apart from a job of the same number of a server that was set up anew: its secret was another. */
function nameOf({ task, attempt, secret }: Claim): BatchName {
  return batchName(`${task}-${attempt}-${createHash('sha256').update(secret).digest('hex').slice(0, 8)}`);
}

/** The site that is meant, or why it cannot be used. */
function siteFor(sites: readonly Site[], spec: TaskSpec): Site | string {
  const { name = '', machine, projectDirectory } = spec.site ?? {};
  const site = sites.find((one) => one.name === name);
  if (!site) return `the site '${name}' is not known to the agent`;
  if (machine !== undefined && !site.machines.includes(machine) && !site.userExtensible)
    return `the site '${name}' has no machine '${machine}' (it has ${site.machines.join(', ')}), and its configuration allows no others (userExtensible)`;
  if (machine === undefined && site.machines.length === 0)
    return `the site '${name}' lists no machines: name one with --machine`;
  if (site.staging === 'shared' && !spec.site?.pilot && !projectDirectory?.startsWith('/'))
    return `at the site '${name}' files are shared: the job has to say in which directory (--project-dir, an absolute path)`;
  return site;
}

function refused({ task, attempt, secret }: Claim, message: string): LiveAttempt {
  const report: Report = { task, attempt, secret, outcome: 'failed', reason: 'start-failed', message };
  return { ...waiting(), ended: Promise.resolve(report) };
}

/** It is held, and nothing is done about it. */
function waiting(): LiveAttempt {
  return { ended: new Promise(() => {}), end: () => {}, state: () => ({}), takeLogs: () => [], returnLogs: () => {} };
}
