import { messageOf } from '../../ground/base/errors.ts';
import { checkRunner } from './check-runner.ts';
import type { StartedStep } from './fetch-outputs.ts';
import type { AfterHook } from './hook-calls.ts';
import { type JobDesk, type KeptRun, type LifeContext, Outdated, type Pace } from './job-desk.ts';
import { planRun } from './plan-run.ts';
import { awaitRun, cancelRun, startRun } from './run-tasks.ts';
import type { Runner } from './runners.ts';

export interface RunParts {
  readonly context: LifeContext;
  readonly desk: JobDesk;
  readonly pace: Pace;
  readonly afterHook: AfterHook;
  readonly sayProgress: (fraction: number | null, message: string | undefined) => void;
  /** Nothing more is said of this run: what was said last is told. */
  readonly tellProgress: () => void;
}

/** What a job has computed: chosen by its hook, kept at the server before it is submitted, followed, fetched or cancelled. */
export function createJobRuns({ context, desk, pace, afterHook, sayProgress, tellProgress }: RunParts) {
  const { mend, report, begin, fail } = desk;

  /** What was submitted for it ends, also what was submitted just before a crash. */
  const endRun = async (): Promise<void> => {
    const run = desk.job.runner as KeptRun | null;
    if (!run || run.results || !['RUNNING'].includes(desk.job.state)) return;
    try {
      const plan = planRun(run.plan, desk.job.directory ?? '');
      const steps = run.steps ?? (plan && (await startRun(runPlace(context.signal), plan)));
      if (steps) await cancelRun(runPlace(context.signal), steps);
    } catch (error) {
      if (context.signal.aborted) throw error;
      context.log.warn(
        { job: desk.job.number },
        `what job ${desk.job.number} runs could not be cancelled: ${messageOf(error)}`,
      );
    }
  };

  const runPlace = (signal: AbortSignal) => ({
    client: context.client,
    project: context.project,
    directory: desk.job.directory ?? '',
    requestId: `service-${desk.job.uid}-${desk.job.run}`,
    signal,
  });

  const chooseRunner = async (): Promise<void> => {
    const rescheduled = desk.job.data as { data: unknown } | null;
    const hook = rescheduled ? 'rerun' : 'run';
    await afterHook(
      hook,
      async ({ value, metadata }) => {
        let plan: Runner;
        try {
          plan = checkRunner(hook, value);
          planRun(plan, desk.job.directory ?? '');
        } catch (error) {
          return fail({ hook, message: messageOf(error), stack: null }, { metadata });
        }
        const runner: KeptRun = { plan };
        if (plan.runner === 'nothing')
          return begin('POSTPROCESSING', { metadata, runner: { ...runner, results: { tasks: [] } } });
        await report('tell', { runner, metadata });
        mend({ runner, metadata });
      },
      rescheduled ? { data: rescheduled.data } : {},
    );
  };

  const followRun = async (run: KeptRun): Promise<void> => {
    const plan = planRun(run.plan, desk.job.directory ?? '');
    if (!plan) return begin('POSTPROCESSING', { runner: { ...run, results: { tasks: [] } } });
    const place = runPlace(pace.step.signal);
    pace.isWaiting = true;
    try {
      const steps = run.steps ?? (await submitted(run, plan, place));
      const end = await awaitRun(place, steps, ({ fraction, message }) => sayProgress(fraction, message));
      tellProgress();
      if (!end.ok) {
        const runner = { ...run, steps, results: { tasks: [] } };
        return await fail({ hook: 'run', message: end.message, stack: withOutput(end) }, { runner });
      }
      pace.isWaiting = false;
      await begin('POSTPROCESSING', { runner: { ...run, steps, results: { tasks: end.tasks } } });
    } catch (error) {
      if (pace.step.signal.aborted || error instanceof Outdated) throw error;
      await fail({ hook: 'run', message: messageOf(error), stack: (error as Error).stack ?? null });
    }
  };

  const submitted = async (
    run: KeptRun,
    plan: NonNullable<ReturnType<typeof planRun>>,
    place: ReturnType<typeof runPlace>,
  ): Promise<readonly StartedStep[]> => {
    await context.atStep?.(desk.job)('submit');
    const steps = await startRun(place, plan);
    await context.atStep?.(desk.job)('submitted');
    await report('tell', { runner: { ...run, steps } });
    mend({ runner: { ...run, steps } });
    return steps;
  };

  return { chooseRunner, followRun, endRun };
}

/** In the place of a stack: a run has none. */
function withOutput({ message, output }: { readonly message: string; readonly output: string | undefined }) {
  return output === undefined ? null : `${message}\n${output}`;
}
