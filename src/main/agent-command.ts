import path from 'node:path';
import type { AgentOptions, AskAgent } from '../face/cli/context.ts';
import { createClient } from '../ground/client/client.ts';
import { httpTransport } from '../ground/client/http-transport.ts';
import { type Agent, startAgent } from '../worker/agent/agent.ts';
import { agentDirectory } from '../worker/agent/agent-directory.ts';
import { askAgent, openAgentSocket } from '../worker/agent/agent-socket.ts';
import { createQuestions } from '../worker/agent/questions.ts';
import { controlDirectory } from './control-directory.ts';
import { logToStderr, tokenReader } from './log-and-token.ts';
import { makeWorkerFile } from './worker-file/make-worker-file.ts';

/** Runs an agent in this process until it is told to end; resolves with the exit code. */
export async function runAgent(options: AgentOptions): Promise<number> {
  const log = logToStderr(options.verbosity);
  const { server, fingerprint, terminal } = options;
  const token = tokenReader(options.tokenFile);
  token();
  const client = createClient(
    httpTransport({ url: server, ...(fingerprint === undefined ? {} : { fingerprint }) }),
    token,
  );
  const running: { agent?: Agent } = {};
  const questions = createQuestions({
    onAnswer: () => running.agent?.loginTried(),
    onOpen: ({ machine, kind }) =>
      log.warn({ machine, kind }, "a login needs somebody: run 'pilotage agent login'; jobs wait until then"),
    ...(terminal ? { terminal } : {}),
  });
  const agent = await startAgent({
    client,
    log,
    serverUrl: server,
    version: options.version,
    sites: options.sites,
    directory: options.directory,
    controlDirectory: controlDirectory(),
    environment: process.env,
    ask: questions.ask,
    workerFile: makeWorkerFile,
    ...(fingerprint === undefined ? {} : { fingerprint }),
    ...(options.acceptHostKeys ? { acceptHostKeys: options.acceptHostKeys } : {}),
    ...(options.projects ? { projects: options.projects } : {}),
  });
  running.agent = agent;
  const forget = obeySignals(agent);
  const sites = { file: options.sitesFile, sites: options.sites };
  try {
    const socket = await openAgentSocket(socketOf(options), { questions, use: agent.stats, sites });
    await agent.done.finally(() => socket.close());
    return 0;
  } finally {
    // Also one whose socket could not be opened lets go of all it has in hand.
    agent.stop();
    await agent.done.catch(() => undefined);
    forget();
    questions.close();
    client.close();
  }
}

export const agentQuestions: AskAgent = {
  questions: async (agent) => (await askAgent(socketOf(agent), { ask: 'questions' })).questions,
  answer: async (agent, id, text) => (await askAgent(socketOf(agent), { ask: 'answer', id, text })).taken,
  use: async (agent) => (await askAgent(socketOf(agent), { ask: 'use' })).use,
  sites: async (agent) => askAgent(socketOf(agent), { ask: 'sites' }),
};

/** The lock in the agent's directory says that there is one; a socket's path has to be short. */
function socketOf({ directory, server }: { readonly directory: string; readonly server: string }): string {
  const own = path.join(agentDirectory(directory, server), 'agent.sock');
  if (Buffer.byteLength(own) < 100) return own;
  return path.join(controlDirectory(), `${path.basename(path.dirname(own))}.sock`);
}

/** Ends the agent; a second time at once. Its jobs go on where they are. */
function obeySignals(agent: Agent): () => void {
  let asked = false;
  const stop = (): void => {
    if (asked) process.exit(130);
    asked = true;
    agent.stop();
  };
  const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, stop);
  return () => {
    for (const signal of signals) process.off(signal, stop);
  };
}
