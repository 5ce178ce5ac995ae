/**
 * One job in its host's hands, until it rests. Each change of state is begun at the server, carried out on disk, and
 * confirmed; a host that dies in between begins here again with what the server knows.
 */
import { messageOf } from '../../ground/base/errors.ts';
import type { JobState } from '../../ground/protocol/job-state.ts';
import type { HostJob } from '../../ground/protocol/service.ts';
import { isOwn } from './directories.ts';
import { createHookCalls } from './hook-calls.ts';
import type { HookName } from './hook-messages.ts';
import { createJobDelivery } from './job-delivery.ts';
import { createDesk, type KeptRun, type LifeContext, Outdated, type Wish } from './job-desk.ts';
import { createJobRuns } from './job-runs.ts';
import { findDirectory, moveDirectory, removeJobDirectory } from './move-directory.ts';

export interface JobLife {
  readonly job: HostJob;
  /** Something was told that nothing was done about yet. */
  readonly hasNews: boolean;
  /** What others told the server since. */
  tell(news: Pick<HostJob, 'wish' | 'wishReason' | 'waiting'>): void;
  /** Resolves when the job rests, or has to wait for others. Rejects with `Outdated`, or as the reporter does. */
  run(): Promise<void>;
}

const RESTING: readonly JobState[] = ['COMPLETED', 'ARCHIVED', 'EXPIRED', 'FAILED', 'CANCELLED'];

export function createJobLife(context: LifeContext, first: HostJob): JobLife {
  const desk = createDesk(context, first);
  const { mend, report, begin, fail } = desk;
  const pace = { step: new AbortController(), isWaiting: false };
  const { afterHook, sayProgress, tellProgress } = createHookCalls(context, desk, pace);
  const { chooseRunner, followRun, endRun } = createJobRuns({
    context,
    desk,
    pace,
    afterHook,
    sayProgress,
    tellProgress,
  });
  const { bring, publish, settle } = createJobDelivery({ context, desk, pace, afterHook });
  let hasSlot = false;
  let hasNews = false;

  /** From the intent to its confirmation. What cannot be moved to FAILED or CANCELLED stays where it is, and is so there too. */
  const carryOut = async (intent: JobState): Promise<void> => {
    const isEnd = intent === 'FAILED' || intent === 'CANCELLED';
    if (isEnd) await endRun();
    let directory = desk.job.target;
    try {
      await move();
    } catch (error) {
      if (context.signal.aborted) throw error;
      const message = messageOf(error);
      directory = await whereIs(desk.job);
      if (!isEnd) return fail({ hook: 'move', message, stack: null }, { directory });
      context.log.warn(
        { job: desk.job.number },
        `the directory of job ${desk.job.number} stays where it is: ${message}`,
      );
    }
    await report('arrive', { directory });
    const slotless = !['PREPROCESSING', 'RUNNING'].includes(intent);
    mend({
      state: intent,
      intent: null,
      target: null,
      directory,
      settled: !['COMPLETED', 'ARCHIVED', 'EXPIRED'].includes(intent),
    });
    if (intent === 'INCOMING') mend({ runner: null, data: null });
    if (slotless) giveSlotBack();
  };

  const move = async (): Promise<void> => {
    const at = context.atStep?.(desk.job);
    const { directory, target } = desk.job;
    if (directory !== null && !isOwn(context.directories, desk.job, directory)) throw new Error(notOwn(directory));
    if (target !== null) return moveDirectory({ from: directory, to: target }, at);
    if (directory !== null) await removeJobDirectory(directory, at);
  };

  const giveSlotBack = (): void => {
    if (hasSlot) context.slots.giveBack();
    hasSlot = false;
  };

  const live: Readonly<Record<JobState, () => Promise<boolean>>> = {
    INCOMING: async () => {
      if (desk.job.waiting > 0) return false;
      await enter();
      await begin('PREPROCESSING');
      return true;
    },
    PREPROCESSING: async () => {
      keepSlot();
      if (!(await bring())) return true;
      await afterHook('preprocess', ({ skip, metadata }) =>
        skip ? begin('COMPLETED', { metadata }) : begin('RUNNING', { metadata, runner: null, data: null }),
      );
      return true;
    },
    RUNNING: async () => {
      keepSlot();
      if (desk.job.runner === null) await chooseRunner();
      else await followRun(desk.job.runner as KeptRun);
      return true;
    },
    POSTPROCESSING: async () => {
      const results = (desk.job.runner as KeptRun | null)?.results ?? { tasks: [] };
      await afterHook(
        'postprocess',
        async ({ metadata, rescheduled }) => {
          if (!rescheduled) return begin('FINALIZING', { metadata });
          await takeSlot(true);
          await begin('RUNNING', { metadata, runner: null, data: rescheduled });
        },
        { results },
      );
      return true;
    },
    FINALIZING: async () => {
      await afterHook('finalize', ({ metadata }) => begin('COMPLETED', { metadata }));
      return true;
    },
    COMPLETED: () => rest('complete', publish),
    ARCHIVED: () => rest('archive'),
    EXPIRED: () => rest('expire'),
    FAILED: async () => false,
    CANCELLED: async () => false,
  };

  const rest = async (hook: HookName, next = settle): Promise<boolean> => {
    if (desk.job.settled) return false;
    await afterHook(hook, ({ metadata }) => next(metadata));
    return true;
  };

  const takeSlot = async (isFirst: boolean): Promise<void> => {
    pace.isWaiting = true;
    await context.slots.take(pace.step.signal, isFirst);
    hasSlot = true;
    pace.isWaiting = false;
  };

  /** Room, then a slot: a slot that waited for room would be lacking to those that are to run once more, and so make room. */
  const enter = async (): Promise<void> => {
    pace.isWaiting = true;
    await context.gate.take(pace.step.signal);
    try {
      do {
        giveSlotBack();
        pace.isWaiting = true;
        await context.room.await(pace.step.signal);
        await takeSlot(false);
      } while (!(await context.room.isThere()));
    } finally {
      context.gate.giveBack();
    }
  };

  const keepSlot = (): void => {
    if (!hasSlot) context.slots.keep();
    hasSlot = true;
  };

  /** True: it is done, or under way. */
  const fulfil = async (wish: Wish): Promise<void> => {
    const isOver = RESTING.includes(desk.job.state);
    const reason = desk.job.wishReason ?? 'somebody said so';
    mend({ wish: null });
    if (wish === 'cancel' && !isOver) await begin('CANCELLED');
    else if (wish === 'fail' && desk.job.state !== 'FAILED' && desk.job.state !== 'CANCELLED')
      await fail({ hook: 'none', message: reason, stack: null });
    else if (wish === 'resubmit' && (desk.job.state === 'FAILED' || desk.job.state === 'CANCELLED'))
      await begin('INCOMING');
    else if (wish === 'archive' && desk.job.state === 'COMPLETED') await begin('ARCHIVED');
    else if (wish === 'expire' && desk.job.state === 'ARCHIVED') await begin('EXPIRED');
    else if (wish === 'delete' && isOver) await remove();
  };

  const remove = async (): Promise<void> => {
    const { directory, number } = desk.job;
    if (directory !== null && isOwn(context.directories, desk.job, directory))
      await removeJobDirectory(directory, context.atStep?.(desk.job));
    else if (directory !== null) context.log.warn({ job: number }, `job ${number} was deleted: ${notOwn(directory)}`);
    await report('gone');
    throw DELETED;
  };

  const oneStep = async (): Promise<boolean> => {
    // Also when it is to become something else: until then its directory may be here or there.
    if (desk.job.intent !== null) return carryOut(desk.job.intent).then(() => true);
    if (desk.job.wish !== null && (desk.job.settled || isEnding(desk.job.wish)))
      return fulfil(desk.job.wish).then(() => true);
    return live[desk.job.state]();
  };

  return {
    get job() {
      return desk.job;
    },
    get hasNews() {
      return hasNews;
    },
    tell({ wish, wishReason, waiting }) {
      hasNews = true;
      desk.hear({ wish, wishReason, waiting });
      if (wish === 'cancel' || wish === 'fail') pace.step.abort(INTERRUPTED);
    },
    async run() {
      try {
        for (;;) {
          pace.step = new AbortController();
          hasNews = false;
          pace.isWaiting = false;
          const stop = (): void => pace.step.abort(context.signal.reason);
          const stopWaiting = (): void => (pace.isWaiting ? pace.step.abort(context.ending.reason) : undefined);
          context.signal.addEventListener('abort', stop);
          context.ending.addEventListener('abort', stopWaiting);
          context.ending.throwIfAborted();
          try {
            if (!(await oneStep())) return;
          } catch (error) {
            if (context.ending.aborted || error instanceof Outdated || pace.step.signal.reason !== INTERRUPTED)
              throw error;
          } finally {
            context.signal.removeEventListener('abort', stop);
            context.ending.removeEventListener('abort', stopWaiting);
          }
        }
      } catch (error) {
        if (error !== DELETED) throw error;
      } finally {
        giveSlotBack();
      }
    },
  };
}

function notOwn(directory: string): string {
  return `'${directory}' is no directory of this job in those of the service, and was left alone. Name the one that it is in under 'directories' in service.yaml, if it is the service's`;
}

/** After a move that failed. */
function whereIs({ directory, target }: HostJob): Promise<string | null> {
  return findDirectory([directory, target].filter((place) => place !== null));
}

/** Why a step ended before its time: the job is to become something else. */
const INTERRUPTED = new Error('the job is to become something else');
const DELETED = new Error('the job is gone');

function isEnding(wish: Wish | null): boolean {
  return wish === 'cancel' || wish === 'fail';
}
