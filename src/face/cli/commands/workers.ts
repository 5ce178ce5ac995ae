import type { Command } from 'commander';
import { PilotageError } from '../../../ground/base/errors.ts';
import { formatSize } from '../../../ground/base/size.ts';
import type { WorkerView } from '../../../ground/protocol/worker.ts';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { type Column, formatAge, formatTable, plural } from '../table.ts';

interface Options {
  readonly all?: boolean;
}

export function workersCommand(define: Define): Command {
  const drain = define('drain', 'Let workers finish what they run, take no more, and end', end('drain'));
  const stop = define('stop', 'End workers at once; what they run goes back to the queue, uncharged', end('stop'));
  for (const command of [drain, stop]) command.argument('[workers...]', 'names or ids').option('--all', 'all of them');
  const listing = define('list', 'List workers', list).option('--all', 'also those that have ended');
  return define('workers', 'List workers, drain or stop them', list)
    .option('--all', 'also those that have ended')
    .addCommand(listing)
    .addCommand(drain)
    .addCommand(stop);
}

async function list(invocation: Invocation, { all }: Options): Promise<number> {
  const workers = await invocation.client().call(calls.workers, { query: all ? { all } : {} });
  await invocation.printList(workers, () => workerTable(workers, invocation.context.now()));
  return EXIT.done;
}

function end(how: 'drain' | 'stop') {
  return async (invocation: Invocation, { all }: Options, workers: string[]): Promise<number> => {
    if (workers.length > 0 && all) throw new PilotageError('bad-request', 'name workers, or give --all: not both');
    if (workers.length === 0 && !all)
      throw new PilotageError('bad-request', "which workers? Name them as 'pilotage workers' does, or give --all");
    const body = all ? { all } : { workers };
    const reply = await invocation.client().call(how === 'drain' ? calls.drainWorkers : calls.stopWorkers, { body });
    await invocation.print(reply, () => `${plural(reply.changed, 'worker')} told to ${how}`);
    return EXIT.done;
  };
}

function workerTable(workers: readonly WorkerView[], now: Date): string {
  if (workers.length === 0) return "no workers: 'pilotage worker' starts one";
  const columns: Column<WorkerView>[] = [
    { title: 'ID', of: ({ id }) => id },
    { title: 'NAME', of: ({ name }) => name },
    { title: 'HOST', of: ({ host, zone }) => (zone === null ? host : `${host} (${zone})`) },
    { title: 'STATE', of: ({ state }) => state },
    { title: 'RUNNING', of: ({ running }) => String(running), align: 'right' },
    {
      title: 'OFFERS',
      of: ({ total }) =>
        `${plural(total.cpus, 'cpu')}, ${formatSize(total.memory)}${total.gpus > 0 ? `, ${plural(total.gpus, 'gpu')}` : ''}`,
    },
    { title: 'SEEN', of: ({ lastSeenAt }) => formatAge(lastSeenAt, now) },
    { title: 'ENDS', of: ({ endsAt }) => formatAge(endsAt, now) },
  ];
  return formatTable(columns, workers);
}
