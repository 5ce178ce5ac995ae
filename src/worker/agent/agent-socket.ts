/** The agent's own socket: only its user may open it. Passwords and codes come in here, and go no further than memory. */
import { chmod, rm } from 'node:fs/promises';
import net from 'node:net';
import { createInterface, type Interface } from 'node:readline';
import { messageOf, PilotageError, systemCode } from '../../ground/base/errors.ts';
import type { Site } from '../../ground/protocol/site.ts';
import type { OpenQuestion, Questions } from './questions.ts';
import type { SiteUse } from './site-executor.ts';

/** One line of JSON each way. */
export type AgentRequest =
  | { readonly ask: 'questions' }
  | { readonly ask: 'answer'; readonly id: string; readonly text: string }
  | { readonly ask: 'use' }
  | { readonly ask: 'sites' };
export interface AgentReplies {
  readonly questions: { readonly questions: readonly OpenQuestion[] };
  readonly answer: { readonly taken: boolean };
  readonly use: { readonly pid: number; readonly use: readonly SiteUse[] };
  readonly sites: KnownSites;
}

/** What the agent read when it was started. */
export interface KnownSites {
  readonly file: string;
  readonly sites: readonly Site[];
}

/** Whom the socket asks in turn. */
export interface AgentTold {
  readonly questions: Pick<Questions, 'open' | 'answer'>;
  readonly use: () => SiteUse[];
  readonly sites: KnownSites;
}

export interface AgentSocket {
  close(): Promise<void>;
}

const MOST_LINE = 64 * 1024;

export async function openAgentSocket(file: string, told: AgentTold): Promise<AgentSocket> {
  await rm(file, { force: true });
  const open = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket)).on('error', () => socket.destroy());
    linesOf(socket).on('line', (line) => {
      if (line.length > MOST_LINE) return socket.destroy();
      socket.write(`${JSON.stringify(answerTo(line, told))}\n`);
    });
  });
  const listening = Promise.withResolvers<void>();
  server.once('error', listening.reject);
  // The directory is the user's own; the mode of the socket says so once more.
  const before = process.umask(0o177);
  server.listen(file, listening.resolve);
  process.umask(before);
  await listening.promise;
  await chmod(file, 0o600);
  return {
    close: async () => {
      for (const socket of open) socket.destroy();
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      await promise;
    },
  };
}

function answerTo(line: string, { questions, use, sites }: AgentTold): object {
  try {
    const request = JSON.parse(line) as AgentRequest;
    switch (request.ask) {
      case 'questions':
        return { questions: questions.open() };
      case 'answer':
        return { taken: questions.answer(request.id, request.text) };
      case 'use':
        return { pid: process.pid, use: use() };
      case 'sites':
        return sites;
    }
    return { error: 'this agent does not know that question: is it of another version?' };
  } catch (error) {
    return { error: messageOf(error) };
  }
}

/** Asks an agent. Rejects with `unreachable` when none is there. */
export async function askAgent<K extends AgentRequest['ask']>(
  file: string,
  request: Extract<AgentRequest, { ask: K }>,
): Promise<AgentReplies[K]> {
  const { promise, resolve, reject } = Promise.withResolvers<AgentReplies[K]>();
  const socket = net.createConnection(file);
  socket.setTimeout(10_000, () => socket.destroy(new Error('it does not answer')));
  socket.once('error', (error) =>
    reject(
      ['ENOENT', 'ECONNREFUSED'].includes(systemCode(error) ?? '')
        ? new PilotageError(
            'unreachable',
            "no agent of yours runs on this machine for this server: start one with 'pilotage agent'",
          )
        : error,
    ),
  );
  socket.once('connect', () => socket.write(`${JSON.stringify(request)}\n`));
  socket.once('close', () => reject(new PilotageError('unreachable', 'the agent ended before it answered: ask again')));
  linesOf(socket).once('line', (line) => {
    try {
      const reply = JSON.parse(line) as AgentReplies[K] & { error?: string };
      if (reply.error === undefined) resolve(reply);
      else reject(new PilotageError('internal', reply.error));
    } catch {
      // An agent that ends gives half a line: the end of the socket says so.
    }
    socket.end();
  });
  return promise.finally(() => socket.destroy());
}

/** readline passes the errors of its input on, and who does not listen ends with them: the socket's own listeners do. */
function linesOf(socket: net.Socket): Interface {
  return createInterface({ input: socket }).on('error', () => {});
}
