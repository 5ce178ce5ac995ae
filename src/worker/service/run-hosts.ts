import { messageOf, PilotageError } from '../../ground/base/errors.ts';
import { type Host, type HostOptions, startHost } from './host.ts';
import { readHostState, runningNow, writeHostState } from './host-state.ts';
import { readServiceConfig } from './read-config.ts';

export interface HostsOptions extends Omit<HostOptions, 'config'> {
  /** Directories of services. */
  readonly homes: readonly string[];
}

export interface Hosts {
  /** Resolves with the exit code when all have ended: 1 if one ended otherwise than told. */
  readonly done: Promise<number>;
  stop(): void;
  /** Something is wrong with this process itself: all end, and tell their server why. */
  fail(error: unknown): void;
}

/** Hosts several services in this process. What ends one leaves the others alone; why is kept in its directory. */
export function runHosts({ homes, ...options }: HostsOptions): Hosts {
  const stopping = new AbortController();
  const failing = new AbortController();
  const one = async (home: string): Promise<boolean> => {
    try {
      refuseSecond(home);
      const config = readServiceConfig(home);
      const host: Host = await startHost({ ...options, config });
      writeHostState(home, runningNow(host.name, config.project));
      if (stopping.signal.aborted) host.stop();
      else stopping.signal.addEventListener('abort', () => host.stop());
      if (failing.signal.aborted) host.fail(failing.signal.reason);
      else failing.signal.addEventListener('abort', () => host.fail(failing.signal.reason));
      await host.done;
      writeHostState(home, { state: 'stopped', at: new Date().toISOString(), reason: null });
      return true;
    } catch (error) {
      options.log.error({ home }, `the service in '${home}' is not hosted any more: ${messageOf(error)}`);
      if (!isOther(error))
        writeHostState(home, { state: 'failed', at: new Date().toISOString(), reason: messageOf(error) });
      return false;
    }
  };
  const all = Promise.all(homes.map(one));
  return {
    done: all.then((ends) => (ends.every(Boolean) ? 0 : 1)),
    stop: () => stopping.abort(),
    fail: (error) => failing.abort(error),
  };
}

/** The state file is another one's, who goes on. */
const RUNS_ALREADY = 'this directory is hosted already';

function refuseSecond(home: string): void {
  const found = readHostState(home);
  if (found?.state !== 'running' || found.process.pid === process.pid) return;
  throw new PilotageError(
    'already-hosted',
    `${RUNS_ALREADY}, by process ${found.process.pid} on ${found.process.host}: 'pilotage service stop' ends it`,
  );
}

function isOther(error: unknown): boolean {
  return error instanceof PilotageError && error.code === 'already-hosted' && error.message.startsWith(RUNS_ALREADY);
}
