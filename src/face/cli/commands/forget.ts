import type { Command } from 'commander';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { type SelectionOptions, toSelection } from '../selection.ts';
import { plural } from '../table.ts';

export function forgetCommand(define: Define): Command {
  return define('forget', 'Remove finished submissions for good: tasks, results, logs and checkpoints', forget)
    .argument('[ids...]', 'submissions')
    .option('--finished', 'all that are finished')
    .option('-p, --project <name>', 'with --finished: only those of this project');
}

async function forget(
  invocation: Invocation,
  options: SelectionOptions & { readonly finished?: boolean },
  ids: string[],
): Promise<number> {
  const body = toSelection(ids, { all: options.finished, project: options.project, flag: '--finished' });
  const reply = await invocation.client().call(calls.forget, { body, timeoutSeconds: 600 });
  await invocation.print(reply, () => `${plural(reply.changed, 'submission')} removed`);
  return EXIT.done;
}
