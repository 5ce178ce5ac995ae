/** The command line inside a worker file: everything but what takes a server's or an agent's parts. */
import { processContext } from '../face/cli/context.ts';
import { runCli } from '../face/cli/run-cli.ts';
import { PilotageError } from '../ground/base/errors.ts';
import { VERSION } from './version.ts';

const context = processContext({
  env: process.env,
  version: VERSION,
  serve: () => absent('serve'),
  restore: () => absent('restore'),
  worker: async (options) => (await import('./worker-command.ts')).runWorker(options),
  cache: {
    show: async (...how) => (await import('./cache-command.ts')).cacheCommands.show(...how),
    list: async (...how) => (await import('./cache-command.ts')).cacheCommands.list(...how),
    prune: async (...how) => (await import('./cache-command.ts')).cacheCommands.prune(...how),
  },
  service: {
    run: () => absent('service'),
    create: () => absent('service'),
    check: () => absent('service'),
    start: () => absent('service'),
    stop: () => absent('service'),
    status: () => absent('service'),
  },
  agent: () => absent('agent'),
  checkSite: () => absent('site test'),
  askAgent: {
    questions: () => absent('agent'),
    answer: () => absent('agent'),
    use: () => absent('agent'),
    sites: () => absent('agent'),
  },
});

function absent(command: string): Promise<never> {
  return Promise.reject(
    new PilotageError('bad-request', `a worker file has no '${command}': install Pilotage where you want that`),
  );
}

process.exitCode = await runCli(process.argv.slice(2), context);
