/** The command `pilotage`: gives the command line its surroundings, and loads the heavy parts only for those who need them. */
import { processContext } from '../face/cli/context.ts';
import { runCli } from '../face/cli/run-cli.ts';
import { VERSION } from './version.ts';

const context = processContext({
  env: process.env,
  version: VERSION,
  serve: async (options) => (await import('./serve/serve-command.ts')).runServe(options),
  worker: async ({ server, cpus, cache, verbose, ...rest }) => {
    const { runWorker } = await import('./worker-command.ts');
    return runWorker({
      ...rest,
      version: VERSION,
      server: server.url,
      tokenFile: server.tokenFile,
      verbosity: verbose + 1,
      ...(server.fingerprint === undefined ? {} : { fingerprint: server.fingerprint }),
      ...(cpus === undefined ? {} : { slots: cpus }),
      ...(cache === undefined ? {} : { workDirectory: cache }),
    });
  },
});

process.exitCode = await runCli(process.argv.slice(2), context);
