import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ServiceCommands, ServiceHostOptions } from '../face/cli/context.ts';
import { createClient } from '../ground/client/client.ts';
import { httpTransport } from '../ground/client/http-transport.ts';
import { startInBackground, stopInBackground } from '../worker/service/background.ts';
import { checkService } from '../worker/service/check-service.ts';
import { logOf, readHostState } from '../worker/service/host-state.ts';
import { newService } from '../worker/service/new-service.ts';
import { readServiceConfig } from '../worker/service/read-config.ts';
import { runHosts } from '../worker/service/run-hosts.ts';
import { logToStderr, tokenReader } from './log-and-token.ts';

const MAIN = fileURLToPath(new URL(`./main.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url));

export const serviceCommands: ServiceCommands = {
  run,
  create: newService,
  check: (home) => checkService(readServiceConfig(home), process.env),
  start: async (options) => {
    const [home = ''] = options.homes;
    readServiceConfig(home);
    return { ...(await startInBackground(home, argvOf(options))), log: logOf(home) };
  },
  stop: stopInBackground,
  status: async (home) => {
    const state = readHostState(home);
    return state === undefined ? undefined : { ...state, log: logOf(home) };
  },
};

/** Runs hosts in this process until they end; resolves with the exit code. */
async function run(options: ServiceHostOptions): Promise<number> {
  const log = logToStderr(options.verbosity);
  const { server, fingerprint, tokenFile, homes, version } = options;
  const token = tokenReader(tokenFile);
  token();
  const target = { url: server, ...(fingerprint === undefined ? {} : { fingerprint }) };
  const client = createClient(httpTransport(target), token);
  const hosts = runHosts({ client, homes, version, log, environment: withoutOurs() });
  let asked = false;
  const stop = (): void => {
    if (asked) process.exit(130);
    asked = true;
    hosts.stop();
  };
  process.once('uncaughtException', (error) => {
    log.error({ err: error }, 'the host ends: something is wrong with it');
    hosts.fail(error);
  });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, stop);
  try {
    return await hosts.done;
  } finally {
    client.close();
  }
}

/** A hook has nothing to do with the host's own server and token. */
function withoutOurs(): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PILOTAGE_')));
}

function argvOf({ server, fingerprint, tokenFile, homes, verbosity }: ServiceHostOptions): string[] {
  const flags = ['--server', server, '--token-file', path.resolve(tokenFile)];
  return [
    process.execPath,
    MAIN,
    ...flags,
    ...(fingerprint === undefined ? [] : ['--fingerprint', fingerprint]),
    ...Array.from({ length: Math.max(0, verbosity - 1) }, () => '--verbose'),
    'service',
    'run',
    ...homes,
  ];
}
