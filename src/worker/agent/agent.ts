import { hostname } from 'node:os';
import path from 'node:path';
import { messageOf } from '../../ground/base/errors.ts';
import { type Claimant, startClaimant } from '../../ground/claimant/exchange-loop.ts';
import type { Log } from '../../ground/claimant/executor.ts';
import { keyOf, openSpool } from '../../ground/claimant/spool.ts';
import type { Client } from '../../ground/client/client.ts';
import { PROTOCOL_VERSION } from '../../ground/protocol/limits.ts';
import type { Site } from '../../ground/protocol/site.ts';
import { type AskCredential, credentialMemory } from '../transport/ssh/credentials.ts';
import { takeAgentDirectory } from './agent-directory.ts';
import { openJournal } from './journal.ts';
import type { PilotMeans, WorkerFile } from './pilot/means.ts';
import { AGENT_TOTAL, createSiteExecutor, type SiteUse } from './site-executor.ts';
import type { EndPatience } from './steps/await-end.ts';
import type { WatchOptions } from './watch.ts';

export interface AgentOptions {
  readonly client: Client;
  readonly serverUrl: string;
  readonly log: Log;
  readonly version: string;
  readonly sites: readonly Site[];
  /** On a disk that outlives a reboot. */
  readonly directory: string;
  /** For the sockets of ssh: a short path. */
  readonly controlDirectory: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly ask: AskCredential;
  readonly acceptHostKeys?: readonly string[];
  readonly projects?: readonly string[];
  readonly pollSeconds?: number;
  readonly watchTimes?: WatchOptions;
  readonly patience?: EndPatience;
  /** Of a self-made certificate, for pilots. */
  readonly fingerprint?: string;
  /** Makes the file that pilots are started with. Without it no pilots are sent. */
  readonly workerFile?: (directory: string) => Promise<WorkerFile>;
}

export interface Agent {
  /** Resolves when it has let go of everything. */
  readonly done: Promise<void>;
  /** Lets go of all jobs: they go on where they are, and the next agent here takes them up. */
  stop(): void;
  /** Somebody gave a password, or accepted a host key. */
  loginTried(): void;
  stats(): SiteUse[];
}

/** Sends jobs to sites. Rejects when another agent runs here for this server. */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const { client, log, sites } = options;
  const at = await takeAgentDirectory(options.directory, options.serverUrl);
  const spool = await openSpool(at.spool, log);
  const journal = await openJournal(at.jobs, log);
  const stopped = Promise.withResolvers<void>();
  const executor = createSiteExecutor({
    ...options,
    journal,
    ask: credentialMemory(options.ask),
    onStopped: stopped.resolve,
    pilots: pilotMeans(options),
  });
  const spooled = new Set(spool.found.map(keyOf));
  const adopted = journal.found.flatMap((entry) => {
    const live = executor.adopt(entry);
    return live && !entry.cancelled && !spooled.has(keyOf(entry.claim)) ? [{ claim: entry.claim, live }] : [];
  });
  if (journal.found.length > 0)
    log.info({ jobs: journal.found.length }, 'going on with jobs that an earlier agent had sent out');
  const claimant: Claimant = startClaimant({
    client,
    executor,
    spool,
    log,
    adopted,
    describe: () => ({
      protocol: PROTOCOL_VERSION,
      version: options.version,
      name: `agent@${hostname()}`,
      host: hostname(),
      pid: process.pid,
      zone: null,
      total: AGENT_TOTAL,
      labels: Object.fromEntries(sites.map(({ name }) => [`site:${name}`, 'yes'])),
      kinds: ['site'],
      batchHold: true,
      remainingSeconds: null,
      ...(options.projects ? { projects: [...options.projects] } : {}),
    }),
    // Without it the next agent here only waits until this session is given up.
    onSession: ({ session, secret }) =>
      at
        .saveSession({ session, secret })
        .catch((error: unknown) =>
          log.error({ error: messageOf(error) }, 'the session could not be written down: is there room?'),
        ),
    ...(at.oldSession ? { replaces: at.oldSession } : {}),
    ...(options.pollSeconds === undefined ? {} : { pollSeconds: options.pollSeconds }),
  });
  log.info({ sites: sites.map(({ name }) => name) }, 'agent started');

  const end = async (): Promise<void> => {
    await Promise.race([stopped.promise, claimant.done]);
    claimant.detach();
    await claimant.done;
    await executor.detach().finally(at.release);
    log.info({}, 'agent ended; its jobs go on where they are');
  };
  return { done: end(), stop: stopped.resolve, loginTried: executor.loginTried, stats: executor.stats };
}

/** The worker file is made once in an agent's life; one that could not be made is tried again for the next pilot. */
function pilotMeans({ serverUrl, fingerprint, workerFile, directory }: AgentOptions): PilotMeans {
  let made: Promise<WorkerFile> | undefined;
  const make =
    workerFile &&
    (() => {
      made ??= workerFile(path.join(directory, 'worker-files')).catch((error: unknown) => {
        made = undefined;
        throw error;
      });
      return made;
    });
  return { serverUrl, ...(fingerprint === undefined ? {} : { fingerprint }), ...(make ? { workerFile: make } : {}) };
}
