/** What its host knows of a job, and how it tells the server about it. */
import type { Log } from '../../ground/base/log.ts';
import type { Client } from '../../ground/client/client.ts';
import type { JobState } from '../../ground/protocol/job-state.ts';
import type { HostJob, JobChange, JobFailure } from '../../ground/protocol/service.ts';
import type { RunResults } from './define-service.ts';
import { type Directories, placeOf } from './directories.ts';
import type { StartedStep } from './fetch-outputs.ts';
import type { HookLanes } from './hook-lanes.ts';
import type { HookName } from './hook-messages.ts';
import type { ChangeAnswer } from './host-session.ts';
import type { AtStep } from './move-directory.ts';
import type { Reporter } from './reporter.ts';
import type { Room } from './room.ts';
import type { Runner } from './runners.ts';
import type { Slots } from './slots.ts';

/** What all jobs of a service share. */
export interface LifeContext {
  readonly client: Client;
  readonly project: string;
  readonly service: { readonly name: string; readonly config: Readonly<Record<string, unknown>> };
  /** The hooks that the module has; of the others nobody is called. */
  readonly hasHooks: ReadonlySet<HookName>;
  /** Patterns of what people may fetch; null is all. */
  readonly results: readonly string[] | null;
  readonly hooks: HookLanes;
  readonly slots: Slots;
  readonly reporter: Reporter;
  readonly directories: Directories;
  readonly room: Room;
  /** One job at a time waits for room, and then for a slot. */
  readonly gate: Slots;
  /** Users are told when their jobs are complete. */
  readonly mailsUsers: boolean;
  /** The host is about to end: hooks are finished, nothing is begun or waited for. */
  readonly ending: AbortSignal;
  /** The host ends now. */
  readonly signal: AbortSignal;
  readonly log: Log;
  readonly atStep?: (job: HostJob) => AtStep;
}

/** A run as the server keeps it: what is wanted, what was submitted for it, and what became of it. */
export interface KeptRun {
  readonly plan: Runner;
  readonly steps?: readonly StartedStep[];
  readonly results?: RunResults;
}

/** The server's word on the job differs from ours: somebody has to look again. */
export class Outdated extends Error {}

export type Wish = NonNullable<HostJob['wish']>;
export type Facts = Partial<Omit<JobChange, 'id' | 'kind' | 'step' | 'to'>>;

/** One step of a job's life: what ends it before its time, and whether it only waits. */
export interface Pace {
  step: AbortController;
  isWaiting: boolean;
}

export interface JobDesk {
  readonly job: HostJob;
  /** Here only. */
  mend(over: Partial<HostJob>): void;
  /** What others told the server: newer than any answer that is on its way. */
  hear(news: Pick<HostJob, 'wish' | 'wishReason' | 'waiting'>): void;
  /** What the job's hooks have logged: goes along with the next report. */
  tellLog(end: string | undefined): void;
  /** Rejects with `Outdated` when the server refuses. */
  report(kind: JobChange['kind'], facts?: Facts & { to?: JobState }): Promise<ChangeAnswer>;
  begin(to: JobState, facts?: Facts): Promise<void>;
  fail(failure: JobFailure, facts?: Facts): Promise<void>;
}

export function createDesk(context: LifeContext, first: HostJob): JobDesk {
  let job: HostJob = { ...first };
  let heard = 0;
  let log: string | undefined;
  let toldLog: string | undefined;

  const mend = (over: Partial<HostJob>): void => {
    job = { ...job, ...over };
  };

  const report = async (kind: JobChange['kind'], facts: Facts & { to?: JobState } = {}): Promise<ChangeAnswer> => {
    const seen = heard;
    const news = log === toldLog ? undefined : log;
    const change = { id: job.id, kind, step: job.step, ...facts, ...(news === undefined ? {} : { log: news }) };
    const answer = await context.reporter.report(change);
    toldLog = news ?? toldLog;
    if (!answer.ok)
      throw new Outdated(`job ${job.number}: the server refused '${kind}' (${answer.refusal ?? 'no reason'})`);
    if (seen === heard) mend({ wish: (answer.wish ?? null) as Wish | null });
    return answer;
  };

  const begin = async (to: JobState, facts: Facts = {}): Promise<void> => {
    const hasNone = job.directory === null && (to === 'FAILED' || to === 'CANCELLED');
    const target = hasNone ? null : placeOf(context.directories, to, job);
    await report('begin', { to, target, ...facts });
    const { metadata, data, runner } = facts;
    mend({
      intent: to,
      target,
      step: job.step + 1,
      run: to === 'RUNNING' ? job.run + 1 : job.run,
      ...(metadata === undefined ? {} : { metadata }),
      ...(data === undefined ? {} : { data }),
      ...(runner === undefined ? {} : { runner }),
      ...(facts.directory === undefined ? {} : { directory: facts.directory }),
    });
  };

  const fail = (failure: JobFailure, facts: Facts = {}): Promise<void> => {
    context.log.warn({ job: job.number, hook: failure.hook }, `job ${job.number} failed: ${failure.message}`);
    const cut = {
      ...failure,
      message: failure.message.slice(0, 16_000),
      stack: failure.stack?.slice(0, 64_000) ?? null,
    };
    return begin('FAILED', { ...facts, failure: cut });
  };

  return {
    get job() {
      return job;
    },
    mend,
    hear(news) {
      heard += 1;
      mend(news);
    },
    tellLog(end) {
      log = end;
    },
    report,
    begin,
    fail,
  };
}
