import { messageOf } from '../../ground/base/errors.ts';
import { fileMode } from '../../ground/content/permissions.ts';
import type { Claim } from '../../ground/protocol/exchange.ts';
import type { OutputFile } from '../../ground/protocol/output-file.ts';
import type { Checkpoints } from '../staging/checkpoints.ts';
import type { StagingJob } from '../staging/staging.ts';

export interface CheckpointerOptions {
  readonly claim: Claim;
  readonly job: StagingJob;
  readonly patterns: readonly string[];
  readonly intervalSeconds: number;
  readonly checkpoints: Checkpoints;
  /** What the attempt began with: the same again is no new checkpoint. */
  readonly begunWith: readonly OutputFile[];
  told(message: string): void;
}

/** Takes checkpoints of one attempt, one at a time: now and then while it runs, and once more at its end. */
export interface Checkpointer {
  /** The program runs. */
  start(): void;
  /** The program is gone. What is under way is given up, and with `last` what is there now is kept, until the signal comes. */
  end(last: boolean): Promise<void>;
}

/** A timer that is set to more fires at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export function createCheckpointer(options: CheckpointerOptions): Checkpointer {
  const { claim, job, checkpoints, intervalSeconds, told } = options;
  const running = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let underWay: Promise<void> = Promise.resolve();
  let number = 0;
  let toldNothing = false;
  let newest = contentOf(options.begunWith);

  const take = async (signal: AbortSignal): Promise<void> => {
    const at = { ...job, signal };
    const files = await checkpoints.capture(at, options.patterns);
    const content = contentOf(files);
    if (files.length === 0 && !toldNothing) {
      toldNothing = true;
      told(
        `no checkpoint of task ${claim.task}: nothing in its directory is called ${options.patterns.join(', ')} so far`,
      );
    }
    if (files.length === 0 || content === newest) return;
    const { task, attempt, secret } = claim;
    number += 1;
    await checkpoints.commit(at, { task, attempt, secret, number, files });
    newest = content;
  };
  const tryToTake = (signal: AbortSignal): Promise<void> =>
    take(signal).catch((error: unknown) => {
      if (!signal.aborted) told(`no checkpoint of task ${claim.task} this time: ${messageOf(error)}`);
    });
  const schedule = (): void => {
    timer = setTimeout(
      () => {
        underWay = tryToTake(AbortSignal.any([running.signal, job.signal])).then(() => {
          if (!running.signal.aborted) schedule();
        });
      },
      Math.min(intervalSeconds * 1000, LONGEST_TIMER_MS),
    );
  };
  return {
    start: schedule,
    async end(last) {
      running.abort();
      clearTimeout(timer);
      await underWay;
      if (last) await tryToTake(job.signal);
    },
  };
}

function contentOf(files: readonly OutputFile[]): string {
  return JSON.stringify(files.map(({ name, digest, ...how }) => [name, digest, fileMode(how)]).sort());
}
