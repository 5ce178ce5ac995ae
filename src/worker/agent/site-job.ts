/** One attempt at a site, from its claim (or from where an earlier agent had brought it) until nothing of it is left there. */
import { messageOf, PilotageError } from '../../ground/base/errors.ts';
import type { LiveAttempt, Log } from '../../ground/claimant/executor.ts';
import type { Client } from '../../ground/client/client.ts';
import type { Report } from '../../ground/protocol/exchange.ts';
import type { SiteState } from '../../ground/protocol/job.ts';
import { createJobOutput } from './job-output.ts';
import type { Ending, Journal, JournalEntry } from './journal.ts';
import type { Machine } from './machine.ts';
import { bringPilotBack } from './pilot/bring-pilot-back.ts';
import type { PilotMeans } from './pilot/means.ts';
import { reopenTunnel, stagePilot } from './pilot/stage-pilot.ts';
import { awaitEnd, type EndPatience } from './steps/await-end.ts';
import { bringBack } from './steps/bring-back.ts';
import { cancel } from './steps/cancel.ts';
import { clean } from './steps/clean.ts';
import { type Context, JobFault } from './steps/context.ts';
import { merge } from './steps/merge.ts';
import { stage } from './steps/stage.ts';
import { submit } from './steps/submit.ts';
import { withRoom } from './steps/with-room.ts';
import type { Watch } from './watch.ts';

export interface SiteJobOptions {
  readonly machine: Machine;
  readonly watch: Watch;
  readonly client: Client;
  readonly journal: Journal;
  readonly log: Log;
  readonly loginTried: (signal: AbortSignal) => Promise<void>;
  /** Only so many files are on their way at once. */
  readonly inTurn: <T>(act: () => Promise<T>, signal: AbortSignal) => Promise<T>;
  /** The claimant ends as planned: nothing is ended there. */
  readonly onStopped: () => void;
  readonly patience?: EndPatience;
  readonly pilots: PilotMeans;
}

export interface SiteJob {
  readonly live: LiveAttempt;
  readonly machine: Machine;
  /** The server has its report. */
  settled(): void;
  /** Lets go of it: it goes on there. Resolves when nothing of it goes on here. */
  detach(): Promise<void>;
  /** Resolves when nothing of it is left. */
  readonly done: Promise<void>;
}

export function startSiteJob(first: JournalEntry, options: SiteJobOptions): SiteJob {
  const { machine, watch, journal, log, inTurn } = options;
  const dropped = new AbortController();
  const detached = new AbortController();
  const isSettled = Promise.withResolvers<void>();
  const reported = Promise.withResolvers<Report>();
  const output = createJobOutput(first.claim);
  const isPilot = first.spec.site?.pilot !== undefined;
  const wasSubmitting = first.phase === 'submitting';
  let entry = first;
  let site: SiteState = { phase: 'staging', machine: machine.name };

  const show: Context['show'] = (told) => {
    site = withShown(site, told);
  };
  const context = (signal: AbortSignal): Context => ({
    machine,
    client: options.client,
    log,
    local: journal.directoryOf(first),
    signal,
    keep: async (next) => {
      entry = { ...next, ...(dropped.signal.aborted ? { cancelled: true } : {}) };
      // Also a submission, once made, does not wait for room when nobody wants it any more.
      await withRoom({ log, show, signal: AbortSignal.any([dropped.signal, signal]) }, () => journal.keep(entry));
      return entry;
    },
    show,
    where: () => {
      const { phase, machine: at, batchId } = site;
      return { phase, ...(at === undefined ? {} : { machine: at }), ...(batchId === undefined ? {} : { batchId }) };
    },
    loginTried: options.loginTried,
    pilots: options.pilots,
  });

  const course = async (): Promise<void> => {
    const wanted = context(AbortSignal.any([dropped.signal, detached.signal]));
    // A submission is brought to its end: what was handed over has to be known.
    const submitting = context(detached.signal);
    try {
      if (entry.pilot?.tunnel) void reopenTunnel(wanted, entry);
      if (entry.phase === 'staging') await wanted.keep(entry);
      if (entry.phase === 'staging')
        entry = await inTurn(() => (isPilot ? stagePilot : stage)(wanted, entry), wanted.signal);
      wanted.signal.throwIfAborted();
      if (entry.phase === 'submitting') entry = await submit(submitting, entry, wasSubmitting);
      if (entry.phase === 'submitted') entry = await awaitEnd(wanted, entry, { watch, output, ...patienceOf(options) });
    } catch (error) {
      wanted.signal.throwIfAborted();
      entry = await wanted.keep({ ...entry, phase: 'ended', ending: faultOf(error, log, entry) });
    }
    if (entry.phase === 'ended') {
      entry =
        entry.batchId === undefined
          ? await wanted.keep({ ...entry, phase: 'merging', report: bareReport(entry), entries: [] })
          : await inTurn(() => (isPilot ? bringPilotBack : bringBack)(wanted, entry, output), wanted.signal);
    }
    if (entry.phase === 'merging') entry = await merge(wanted, entry);
    reported.resolve(entry.report as Report);
    await Promise.race([isSettled.promise, whenAborted(detached.signal)]);
    detached.signal.throwIfAborted();
  };

  /** Nobody had foreseen it: the job is not held for ever, and what it left is not removed. */
  const strand = async (error: unknown): Promise<void> => {
    const { task } = first.claim;
    log.error({ task, error: messageOf(error) }, 'a job at a site met an error that nobody had foreseen');
    const left = entry.directory === undefined ? '' : `. What it left is in '${entry.directory}' on '${machine.name}'`;
    const message = `its agent could not go on with it: ${messageOf(error)}${left}`;
    const ending: Ending = { outcome: 'failed', reason: 'output-failed', message };
    entry = { ...entry, phase: 'reported', report: bareReport({ ...entry, ending }), isLeft: true };
    await journal.keep(entry).catch(() => undefined);
    reported.resolve(entry.report as Report);
    await Promise.race([isSettled.promise, whenAborted(AbortSignal.any([dropped.signal, detached.signal]))]);
  };
  const run = async (): Promise<void> => {
    if (first.cancelled) dropped.abort();
    await course().catch((error: unknown) => {
      if (!dropped.signal.aborted && !detached.signal.aborted) return strand(error);
    });
    if (detached.signal.aborted) return;
    const after = context(detached.signal);
    if (dropped.signal.aborted) {
      entry = { ...entry, cancelled: true };
      // Should that be forgotten, the server says it again to the next agent.
      await journal.keep(entry).catch((error: unknown) => log.error({ error: messageOf(error) }, 'no journal is kept'));
      await cancel(after, entry);
    }
    await clean(after, entry);
    await journal.forget(entry);
  };
  const done = run().catch((error: unknown) => {
    if (!detached.signal.aborted)
      log.error({ task: first.claim.task, error: messageOf(error) }, 'a job could not be tidied up');
  });

  return {
    machine,
    live: {
      ended: reported.promise,
      end(cause) {
        if (cause === 'stopped') options.onStopped();
        else dropped.abort();
      },
      state() {
        const progress = output.progress();
        const processes = output.processes();
        return {
          ...(output.startedAt() === undefined ? {} : { started: true }),
          ...(progress ? { progress } : {}),
          site: withProcesses(processes),
        };
      },
      takeLogs(limit) {
        // It is asked for in short turns while somebody follows.
        if (!limit.tailOnly) watch.follow(10_000);
        return output.takeChunks(limit);
      },
      returnLogs: output.returnChunk,
    },
    settled: () => isSettled.resolve(),
    async detach() {
      detached.abort();
      await done;
    },
    done,
  };

  function withProcesses(processes: ReturnType<typeof output.processes>): SiteState {
    if (!processes || site.processesAt === processes.processesAt) return site;
    site = { ...site, processes: [...processes.processes], processesAt: processes.processesAt };
    return site;
  }
}

/** The same object when nothing of it is new. */
function withShown(site: SiteState, told: Parameters<Context['show']>[0]): SiteState {
  const next = Object.fromEntries(Object.entries({ ...site, ...told }).filter(([, value]) => value !== undefined));
  return JSON.stringify(next) === JSON.stringify(site) ? site : (next as SiteState);
}

function patienceOf({ patience }: SiteJobOptions): { patience?: EndPatience } {
  return patience ? { patience } : {};
}

function faultOf(error: unknown, log: Log, entry: JournalEntry): Ending {
  if (error instanceof JobFault) return error.ending;
  if (!(error instanceof PilotageError))
    log.error(
      { task: entry.claim.task, error: messageOf(error) },
      'a job at a site failed in a way that nobody had foreseen',
    );
  return { outcome: 'failed', reason: 'start-failed', message: messageOf(error) };
}

/** Nothing was started there, so there is nothing to bring back. */
function bareReport(entry: JournalEntry): Report {
  const { task, attempt, secret } = entry.claim;
  return { task, attempt, secret, ...(entry.ending as Ending) };
}

function whenAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener('abort', () => resolve(), { once: true });
  return promise;
}
