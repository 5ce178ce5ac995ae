import type { Command } from 'commander';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { type SelectionOptions, toSelection } from '../selection.ts';
import { plural } from '../table.ts';

export function retryCommand(define: Define): Command {
  return define('retry', 'Queue tasks again that failed or were cancelled', retry)
    .argument('[ids...]', 'tasks or submissions')
    .option('--failed', 'all that failed')
    .option('-p, --project <name>', 'with --failed: only those of this project');
}

async function retry(
  invocation: Invocation,
  options: SelectionOptions & { readonly failed?: boolean },
  ids: string[],
): Promise<number> {
  const body = toSelection(ids, { all: options.failed, project: options.project, flag: '--failed' });
  const reply = await invocation.client().call(calls.retry, { body });
  await invocation.print(reply, () => `${plural(reply.changed, 'task')} queued again`);
  return EXIT.done;
}
