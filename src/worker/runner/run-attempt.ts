/** One attempt: stage its inputs → run its program → keep its outputs and logs → report. */
import { messageOf, PilotageError } from '../../ground/base/errors.ts';
import type { Checkpoint } from '../../ground/protocol/checkpoint.ts';
import type { Report } from '../../ground/protocol/exchange.ts';
import type { InputFile, OutputPattern } from '../../ground/protocol/spec.ts';
import type { StagingJob } from '../staging/staging.ts';
import type { Assignment, AttemptRun, RunnerOptions } from './attempt-run.ts';
import { type Checkpointer, createCheckpointer } from './checkpointer.ts';
import { attemptEnvironment, attemptToken } from './environment.ts';
import { explainNotStarted } from './explain-not-started.ts';
import { type Filled, fillSpec } from './fill-spec.ts';
import { type Judged, judgeEnd } from './judge-end.ts';
import { type Program, type ProgramEnd, startProgram } from './program.ts';
import { createProgramLog, takeChunks } from './program-log.ts';
import { createProgressFile } from './progress-file.ts';
import { putBackCheckpoint } from './put-back-checkpoint.ts';
import type { Sampler } from './sampler.ts';
import { WITHDRAWN } from './spawner-messages.ts';

export interface AttemptOrder extends Assignment {
  readonly id: string;
  readonly mark: string;
  readonly directory: string;
  readonly sampler: Sampler;
  readonly options: RunnerOptions;
}

/** When the worker ends, outputs that are on their way get so long. */
const LAST_UPLOAD_MS = 20_000;
/** Between checkpoints, unless the task says otherwise. */
const CHECKPOINT_SECONDS = 600;

export function runAttempt(order: AttemptOrder): AttemptRun {
  const { claim, directory, options } = order;
  const logs = { stdout: createProgramLog(`${directory}/stdout`), stderr: createProgramLog(`${directory}/stderr`) };
  const progress = createProgressFile(`${directory}/progress`);
  const wanted = new AbortController();
  const programEnded = Promise.withResolvers<void>();
  const job: StagingJob = { project: claim.project, sandbox: `${directory}/sandbox`, signal: wanted.signal };
  let cut: 'dropped' | 'stopped' | undefined;
  let program: Program | undefined;
  let phase: 'staging' | 'running' | 'keeping' = 'staging';
  let begunFrom: Checkpoint | undefined;
  let checkpointer: Checkpointer | undefined;

  const pipeline = async (): Promise<Report> => {
    const filled = fillSpec(order);
    if ('fault' in filled) return failed({ reason: 'start-failed', message: filled.fault });
    if (claim.fault !== undefined) return failed({ reason: 'input-failed', message: claim.fault });
    // Without files the program starts at once: short ones are many.
    const notStaged = filled.inputs.length > 0 || claim.checkpoints ? await stage(filled.inputs) : undefined;
    if (cut) return toReport({ outcome: 'released' });
    if (notStaged) return toReport(notStaged);
    phase = 'running';
    program = start(order, filled, begunFrom);
    if (filled.checkpoint.length > 0) checkpointer = checkpointsOf(filled.checkpoint);
    checkpointer?.start();
    const end = await program.ended;
    phase = 'keeping';
    if (cut) limitUploads();
    programEnded.resolve();
    return conclude(end, filled);
  };

  /** Undefined: all is in place. A full disk is this machine's fault, not the task's. */
  const stage = async (
    files: readonly InputFile[],
  ): Promise<Pick<Report, 'outcome' | 'reason' | 'message'> | undefined> => {
    try {
      if (files.length > 0) await options.staging.stage(job, files);
      if (claim.checkpoints) begunFrom = await putBackCheckpoint(options.staging, job, claim.checkpoints, told);
      return undefined;
    } catch (error) {
      const full = error instanceof PilotageError && error.code === 'storage-full' ? error : await asFull(error);
      if (full) return { outcome: 'released', message: full.message };
      return { outcome: 'failed', reason: 'input-failed', message: messageOf(error) };
    }
  };
  const limitUploads = (): void => void setTimeout(() => wanted.abort(), LAST_UPLOAD_MS).unref();
  const asFull = (error: unknown) => options.staging.asStorageFull(directory, error).catch(() => undefined);
  const told = (what: string): void => options.told(`task ${claim.task}: ${what}`);

  const checkpointsOf = (patterns: readonly string[]): Checkpointer =>
    createCheckpointer({
      claim,
      job,
      patterns,
      intervalSeconds: order.spec.checkpoint?.intervalSeconds ?? CHECKPOINT_SECONDS,
      checkpoints: options.checkpoints,
      begunWith: begunFrom?.files ?? [],
      told: options.told,
    });

  const conclude = async (end: ProgramEnd, filled: Filled): Promise<Report> => {
    if (end.is === 'not-started') {
      if (end.code === WITHDRAWN) return toReport({ outcome: 'released' });
      const { code, message } = end;
      // The spawner says which directory it could not make; why not is in the message.
      const full = await asFull({ code: /^[A-Z]+(?=:)/.exec(message)?.[0] ?? code });
      if (full) return toReport({ outcome: 'released', message: full.message });
      const searchPath = filled.env.PATH ?? options.baseEnv.PATH ?? '';
      const why = explainNotStarted({
        command: filled.command[0] ?? '',
        sandbox: job.sandbox,
        searchPath,
        code,
        systemMessage: message,
      });
      return why.reason === undefined
        ? toReport({ outcome: 'released', message: why.message })
        : failed({ reason: why.reason, message: why.message });
    }
    await checkpointer?.end(end.is === 'ended' && cut !== 'dropped' && judgeEnd(end, cut).outcome !== 'succeeded');
    if (end.is === 'lost')
      return toReport({
        outcome: 'lost',
        message: 'the process that had started the program was killed under it on this machine, perhaps by the program',
      });
    const judged = await judgeInputs(judgeEnd(end, cut));
    const kept = cut === undefined && filled.outputs.length > 0 ? await keepOutputs(judged, filled.outputs) : judged;
    return toReport({ ...kept, ...program?.usage(), ...(await keepLogs(end)) });
  };

  /** A result that came of an input which changed meanwhile is none. */
  const judgeInputs = async (judged: Judged): Promise<Judged> => {
    if (judged.outcome !== 'succeeded') return judged;
    const [changed] = await options.staging.changedInputs(job.sandbox);
    if (changed === undefined) return judged;
    const message = `its input '${changed}' was written to while it ran, by its own program or by another task that shares the file: an input that a program changes needs 'writable: true'`;
    return { ...judged, outcome: 'failed', reason: 'input-failed', message };
  };

  /** Also those of a failed program, as far as they are there: they may tell why it failed. */
  const keepOutputs = async (
    judged: Judged,
    patterns: readonly OutputPattern[],
  ): Promise<Judged & Pick<Report, 'outputs'>> => {
    try {
      const { outputs, fault } = await options.staging.collect(job, patterns);
      const worse =
        fault && judged.outcome === 'succeeded' ? { ...judged, outcome: 'failed' as const, ...fault } : judged;
      return { ...worse, outputs: [...outputs] };
    } catch (error) {
      if (cut) return { outcome: 'ended', message: 'the worker ended before the outputs were delivered' };
      return judged.outcome === 'succeeded'
        ? {
            ...judged,
            outcome: 'failed',
            reason: 'output-failed',
            message: `its outputs could not be kept: ${messageOf(error)}`,
          }
        : judged;
    }
  };

  const keepLogs = async (end: ProgramEnd & { is: 'ended' }): Promise<Pick<Report, 'stdout' | 'stderr'>> => {
    const upload = (file: string) => options.staging.upload(job, file);
    const keep = async (stream: 'stdout' | 'stderr', size: number) => {
      const kept = await logs[stream].finish(size, upload).catch((error) => {
        options.told(`${stream} of task ${claim.task} could not be kept: ${messageOf(error)}`);
        return { size };
      });
      return {
        [stream]: {
          size: kept.size,
          ...('data' in kept ? { data: kept.data } : {}),
          ...('digest' in kept ? { digest: kept.digest } : {}),
        },
      };
    };
    return { ...(await keep('stdout', end.how.stdoutBytes)), ...(await keep('stderr', end.how.stderrBytes)) };
  };

  const failed = (why: Pick<Report, 'reason' | 'message'>): Report => toReport({ outcome: 'failed', ...why });
  const toReport = (how: Omit<Report, 'task' | 'attempt' | 'secret'>): Report => ({
    task: claim.task,
    attempt: claim.attempt,
    secret: claim.secret,
    ...(begunFrom ? { checkpoint: { attempt: begunFrom.attempt, number: begunFrom.number } } : {}),
    ...how,
    ...(how.message === undefined ? {} : { message: how.message.slice(0, 4000) }),
  });

  const ended = pipeline()
    .catch((error) =>
      toReport({
        outcome: 'failed',
        reason: 'start-failed',
        message: `the worker stumbled over this task: ${messageOf(error)}`,
      }),
    )
    .finally(() => programEnded.resolve());

  return {
    ended,
    programEnded: programEnded.promise,
    end: (cause) => {
      cut ??= cause;
      program?.terminate();
      if (cause === 'dropped' || phase === 'staging') wanted.abort();
      else if (phase === 'keeping') limitUploads();
    },
    withdraw: () => program?.withdraw(),
    state: () => {
      if (!program) return { started: false };
      if (!program.seen) return { started: true };
      const now = progress.read();
      return { started: true, ...program.usage(), ...(now ? { progress: now } : {}) };
    },
    takeLogs: (limit) => (program?.seen ? takeChunks(logs, { task: claim.task, attempt: claim.attempt }, limit) : []),
    returnLogs: (chunk) => logs[chunk.stream].returnFrom(chunk.offset),
  };
}

function start(order: AttemptOrder, filled: Filled, begunFrom: Checkpoint | undefined): Program {
  const { claim, spec, id, mark, directory, gpus, options } = order;
  const memoryLimit = spec.memoryLimit ?? spec.resources?.memory;
  return startProgram(order.lane.spawner, order.sampler, {
    order: {
      op: 'start',
      id,
      lane: order.lane.id,
      directory,
      command: filled.command,
      env: attemptEnvironment({
        claim,
        spec,
        taskEnv: filled.env,
        directory,
        gpus,
        server: options.server,
        mark,
        ...(begunFrom ? { checkpoint: `${begunFrom.attempt}.${begunFrom.number}` } : {}),
      }),
      token: attemptToken(claim),
    },
    mark,
    killAfterMs: (options.killAfterSeconds ?? 10) * 1000,
    ...(spec.timeLimitSeconds === undefined ? {} : { timeLimitSeconds: spec.timeLimitSeconds }),
    ...(memoryLimit === undefined ? {} : { memoryLimit }),
  });
}
