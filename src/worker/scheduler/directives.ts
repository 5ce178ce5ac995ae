import { PilotageError } from '../../ground/base/errors.ts';
import { quote } from '../transport/quote.ts';
import type { BatchJob } from './scheduler.ts';

/**
 * The site's options as lines that the batch system reads and a shell skips: whatever is in them, also over a line's
 * end, stays a comment. A marker that is there already (copied from a script) is not doubled.
 *
 * @param unfit what a job that is to be one job, and submitted at once, cannot have
 */
export function optionLines(options: readonly string[], marker: string, unfit?: RegExp): string[] {
  const lines = plainLines(options, marker);
  const wrong = unfit && lines.find((line) => unfit.test(line));
  if (wrong !== undefined) {
    throw new PilotageError(
      'bad-request',
      `the site's option ${JSON.stringify(wrong)} makes many jobs of one, or waits for their end: take it out of the site's options`,
    );
  }
  return lines.map((line) => `${marker} ${line}`);
}

function plainLines(options: readonly string[], marker: string): string[] {
  return options
    .flatMap((option) => option.split(/[\r\n]+/))
    .map((line) => (line.trimStart().startsWith(marker) ? line.trimStart().slice(marker.length) : line).trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}

/** Where a batch system cannot be given any directory or file name, the script goes there by itself. */
export function enterLines(job: BatchJob): string[] {
  const { stdout, stderr } = job;
  return [
    `cd ${quote(job.directory)} || exit 125`,
    stdout === stderr
      ? `exec >${quote(stdout)} 2>&1 </dev/null || exit 125`
      : `exec >${quote(stdout)} 2>${quote(stderr)} </dev/null || exit 125`,
  ];
}
