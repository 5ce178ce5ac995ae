import type { Command } from 'commander';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { type SelectionOptions, toSelection } from '../selection.ts';
import { plural } from '../table.ts';

export function cancelCommand(define: Define): Command {
  return define('cancel', 'Cancel tasks; those that run are ended', cancel)
    .argument('[ids...]', 'tasks or submissions')
    .option('--all', 'all that have not ended')
    .option('-p, --project <name>', 'with --all: only those of this project');
}

async function cancel(invocation: Invocation, options: SelectionOptions, ids: string[]): Promise<number> {
  const body = toSelection(ids, { all: options.all, project: options.project, flag: '--all' });
  const reply = await invocation.client().call(calls.cancel, { body });
  await invocation.print(reply, () => `${plural(reply.changed, 'task')} cancelled`);
  return EXIT.done;
}
