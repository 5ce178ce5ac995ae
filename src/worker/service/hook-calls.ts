import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { LOG_FILE } from '../../ground/content/file-parameters.ts';
import type { HookCall, HookName } from './hook-messages.ts';
import type { HookOutcome } from './hook-process.ts';
import type { JobDesk, LifeContext, Pace } from './job-desk.ts';

const PROGRESS_MS = 500;
/** So much of a job's log is told to the server. */
const LOG_BYTES = 32 * 1024;

export type AfterHook = (
  hook: HookName,
  next: (outcome: Extract<HookOutcome, { kind: 'done' }>) => Promise<void>,
  more?: Partial<HookCall>,
) => Promise<void>;

/** The hooks of one job. A step that is ended before its time ends the hook that it waits for. */
export function createHookCalls(context: LifeContext, desk: JobDesk, pace: Pace) {
  const { report, fail } = desk;
  let saidProgress = -Infinity;
  let untold: { fraction?: number; message?: string } | undefined;
  let timer: NodeJS.Timeout | undefined;

  const callHook = async (hook: HookName, more: Partial<HookCall> = {}): Promise<HookOutcome> => {
    const present = context.hasHooks.has(hook) || (hook === 'rerun' && context.hasHooks.has('run'));
    if (!present) return { kind: 'done', metadata: desk.job.metadata, skip: false };
    const { number, uid, name, owner, contact, parameters, metadata, run, directory, url } = desk.job;
    const outcome = await context.hooks.call(
      hook === 'archive' || hook === 'expire' ? 'past' : 'live',
      {
        hook,
        job: { number, uid, name, owner, contact, parameters, metadata, run, directory, url },
        service: context.service,
        ...more,
      },
      { signal: pace.step.signal, onProgress: (said) => sayProgress(said.fraction, said.message) },
    );
    tellProgress();
    if (pace.step.signal.aborted) throw pace.step.signal.reason;
    if (directory !== null) desk.tellLog(forPeople(await endOfLog(directory), url));
    return outcome;
  };

  const sayProgress = (fraction: number | null, message: string | undefined): void => {
    untold = {
      ...(fraction === null ? {} : { fraction: Math.min(1, Math.max(0, Number(fraction) || 0)) }),
      ...(message === undefined ? {} : { message: message.slice(0, 1000) }),
    };
    const wait = saidProgress + PROGRESS_MS - performance.now();
    if (wait <= 0) tellProgress();
    else timer ??= setTimeout(tellProgress, wait).unref();
  };

  /** What was said last: at once when a hook or a run has ended, so that no job stays at a share that it has long passed. */
  const tellProgress = (): void => {
    clearTimeout(timer);
    timer = undefined;
    const progress = untold;
    if (progress === undefined) return;
    untold = undefined;
    saidProgress = performance.now();
    // Only told for people: nobody waits for it.
    void report('tell', { progress }).catch(() => {});
  };

  /** Calls a hook and goes on from what came of it; a failure of the hook is the job's. */
  const afterHook = async (
    hook: HookName,
    next: (outcome: Extract<HookOutcome, { kind: 'done' }>) => Promise<void>,
    more?: Partial<HookCall>,
  ): Promise<void> => {
    const outcome = await callHook(hook, more);
    if (outcome.kind === 'done') return next(outcome);
    const { message, stack, metadata } = outcome;
    await fail({ hook, message, stack }, { metadata: metadata ?? desk.job.metadata });
  };

  return { sayProgress, tellProgress, afterHook };
}

/** How a hook failed is the administrator's business (the failure has it, with its stack), and the link is a secret. */
function forPeople(log: string | undefined, url: string): string | undefined {
  return log?.replaceAll(url, '{link}').replaceAll(FAILURE, '$1');
}

/** The entry that the hooks' process writes of a hook that threw, up to the next one. */
const FAILURE = /( ERROR \w+ failed):.*(?:\n(?!\d{4}-\d\d-\d\dT).*)*(?=\n|$)/g;

/** Undefined where hooks have logged nothing, or elsewhere. */
async function endOfLog(directory: string): Promise<string | undefined> {
  const file = await open(path.join(directory, LOG_FILE), constants.O_RDONLY | constants.O_NOFOLLOW).catch(
    () => undefined,
  );
  try {
    const { size = 0 } = (await file?.stat()) ?? {};
    if (!file || size === 0) return undefined;
    const from = Math.max(0, size - LOG_BYTES);
    const { bytesRead, buffer } = await file.read(Buffer.alloc(size - from), 0, size - from, from);
    // No database takes that character into a text.
    return buffer.toString('utf8', 0, bytesRead).replaceAll('\0', '\ufffd');
  } finally {
    await file?.close();
  }
}
