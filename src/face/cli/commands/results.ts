import path from 'node:path';
import type { Command } from 'commander';
import { formatSize } from '../../../ground/base/size.ts';
import { parseTarget } from '../../../ground/base/task-id.ts';
import type { TaskOutputs } from '../../../ground/protocol/task.ts';
import type { TaskStatus } from '../../../ground/protocol/task-state.ts';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { defined } from '../defined.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { wholeNumber } from '../option-values.ts';
import type { Fetched, FetchProgress } from '../submission/fetch-results.ts';
import { byteProgress } from '../submission/progress.ts';
import { plural } from '../table.ts';
import { describeCounts } from './status.ts';

interface Options {
  readonly to: string;
  readonly attempt?: number;
  readonly name?: string;
}

/** Through a restart of the server. */
const PATIENCE_SECONDS = 60;

export function resultsCommand(define: Define): Command {
  return define(
    'results',
    'Fetch the output files: of a task into a directory, of a submission into one directory for each index',
    results,
  )
    .argument('<id>', 'a task or a submission')
    .requiredOption('--to <dir>', 'where to')
    .option('--attempt <n>', 'what this attempt left; the accepted one unless given', wholeNumber(1))
    .option('--name <pattern>', "only files with such a name, as in '*.json'");
}

async function results(invocation: Invocation, options: Options, id: string): Promise<number> {
  const { index, submission } = parseTarget(id);
  const client = invocation.client();
  const { project } = await client.call(calls.submission, { params: { id: submission } });
  const counts = { waiting: 0, queued: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0 } satisfies Record<
    TaskStatus,
    number
  >;
  const { fetchResults } = await import('../submission/fetch-results.ts');
  const to = path.resolve(invocation.context.cwd, options.to);
  const patience = {
    seconds: PATIENCE_SECONDS,
    onOutage: (error: Error) => void invocation.say(`${error.message}; trying again`),
  };
  const fetching = {
    client,
    project,
    patience,
    id,
    to,
    isTask: index !== undefined,
    ...defined({ attempt: options.attempt, name: options.name }),
  };
  const count = ({ state }: TaskOutputs): void => {
    counts[state] += 1;
  };
  const fetched = await withProgress(invocation, (onProgress) => fetchResults({ ...fetching, onProgress }, count));
  await invocation.printList(fetched, () => {
    const bytes = fetched.reduce((sum, { size, skipped }) => sum + (skipped ? 0 : size), 0);
    const skipped = fetched.filter((file) => file.skipped).length;
    return `${plural(fetched.length, 'file')} in ${options.to} (${formatSize(bytes)} fetched${skipped > 0 ? `, ${skipped} there already` : ''})`;
  });
  if (fetched.length === 0) {
    const why =
      options.name === undefined
        ? 'nothing was named with --output, or nothing is ready yet'
        : `no output is called '${options.name}', or nothing is ready yet ('pilotage task ${id}' shows what there is)`;
    await invocation.say(`there are no files: ${why}; what programs printed is in 'pilotage logs'`);
    if (options.name !== undefined) return EXIT.failed;
  }
  return judge(invocation, counts, options.attempt !== undefined);
}

async function withProgress(
  invocation: Invocation,
  fetch: (onProgress: (sofar: FetchProgress) => void) => Promise<Fetched[]>,
): Promise<Fetched[]> {
  const bar = byteProgress(invocation, 'fetching');
  try {
    return await fetch(({ bytes, totalBytes, files, totalFiles }) =>
      bar.update(bytes, totalBytes, `${files} of ${plural(totalFiles, 'file')}`),
    );
  } finally {
    bar.stop();
  }
}

/** Results that are not all there are not done. */
async function judge(
  invocation: Invocation,
  counts: Record<TaskStatus, number>,
  isOneAttempt: boolean,
): Promise<number> {
  const { succeeded: _succeeded, ...others } = counts;
  const lacking = { ...others, succeeded: 0 };
  if (isOneAttempt || Object.values(lacking).every((count) => count === 0)) return EXIT.done;
  await invocation.say(`not all tasks have succeeded: ${describeCounts(lacking)}`);
  return EXIT.failed;
}
