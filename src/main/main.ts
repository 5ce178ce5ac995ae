/** The command `pilotage`: gives the command line its surroundings, and loads the heavy parts only for those who need them. */
import { processContext } from '../face/cli/context.ts';
import { runCli } from '../face/cli/run-cli.ts';
import { VERSION } from './version.ts';

const context = processContext({
  env: process.env,
  version: VERSION,
  serve: async (options) => (await import('./serve/serve-command.ts')).runServe(options),
  restore: async (options) => (await import('./restore-command.ts')).runRestore(options),
  worker: async (options) => (await import('./worker-command.ts')).runWorker(options),
  cache: {
    show: async (...how) => (await import('./cache-command.ts')).cacheCommands.show(...how),
    list: async (...how) => (await import('./cache-command.ts')).cacheCommands.list(...how),
    prune: async (...how) => (await import('./cache-command.ts')).cacheCommands.prune(...how),
  },
  service: {
    run: async (...how) => (await import('./service-command.ts')).serviceCommands.run(...how),
    create: async (...how) => (await import('./service-command.ts')).serviceCommands.create(...how),
    check: async (...how) => (await import('./service-command.ts')).serviceCommands.check(...how),
    start: async (...how) => (await import('./service-command.ts')).serviceCommands.start(...how),
    stop: async (...how) => (await import('./service-command.ts')).serviceCommands.stop(...how),
    status: async (...how) => (await import('./service-command.ts')).serviceCommands.status(...how),
  },
  agent: async (options) => (await import('./agent-command.ts')).runAgent(options),
  askAgent: {
    questions: async (...how) => (await import('./agent-command.ts')).agentQuestions.questions(...how),
    answer: async (...how) => (await import('./agent-command.ts')).agentQuestions.answer(...how),
    use: async (...how) => (await import('./agent-command.ts')).agentQuestions.use(...how),
    sites: async (...how) => (await import('./agent-command.ts')).agentQuestions.sites(...how),
  },
  checkSite: async (options) => (await import('./check-site-command.ts')).runCheckSite(options),
});

process.exitCode = await runCli(process.argv.slice(2), context);
