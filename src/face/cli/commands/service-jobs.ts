import type { Command } from 'commander';
import type { Define } from '../define.ts';
import type { Invocation } from '../invocation.ts';
import { addJob, type WishOptions, wishJobs } from '../jobs/service-jobs.ts';
import { SEVERAL } from '../option-sources.ts';
import { collectFiles, collectList, collectPairs } from '../option-values.ts';

const PROJECT = 'the project (PILOTAGE_PROJECT; else default)';

/** Below `pilotage job`: what there is for services' jobs only. */
export function serviceJobCommands(define: Define): Command[] {
  const wish = (name: 'fail' | 'resubmit' | 'delete', summary: string): Command =>
    define(name, summary, (invocation: Invocation, options: WishOptions, numbers: string[]) =>
      wishJobs(invocation, options, name, numbers),
    )
      .argument('[numbers...]', 'the jobs')
      .option('-p, --project <name>', PROJECT)
      .option('--all-of <service>', 'all jobs of this service, in place of numbers')
      .option('--yes', 'do not ask');
  return [
    define('add', 'Add a job to a service; its input may be a directory', addJob)
      .argument('<service>', "'pilotage service list' shows those there are")
      .argument(
        '[dir]',
        "its input: one in the service's incoming directory is handed over, another one is copied there",
      )
      .option('-p, --project <name>', PROJECT)
      .option('-n, --name <name>', 'a name to find it by')
      .option('--set <name=value>', `a parameter ${SEVERAL}`, collectPairs)
      .option('--file <name=path>', `a file for a parameter that takes files ${SEVERAL}`, collectFiles)
      .option('--parameters <json>', 'all parameters, as JSON')
      .option('--contact <address>', 'whom to tell when it is complete')
      .option('--after <job>', `begin when this job is complete ${SEVERAL}`, collectList),
    wish('resubmit', 'Begin failed or cancelled jobs of services again'),
    wish('fail', 'Make jobs of services fail, wherever they are').option('--reason <text>', 'why'),
    wish('delete', 'Remove jobs of services that have ended, with their directories'),
  ];
}
