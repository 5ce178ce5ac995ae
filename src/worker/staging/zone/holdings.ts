/** What a worker says to the server about blobs: whom to fetch one from, what it has, what it no longer has. */
import { messageOf } from '../../../ground/base/errors.ts';
import type { Log } from '../../../ground/base/log.ts';
import type { Client } from '../../../ground/client/client.ts';
import { workerCalls } from '../../../ground/protocol/worker-calls.ts';
import type { SourceReply, SourceRequest } from '../../../ground/protocol/zone.ts';
import type { ZoneSession } from './tickets.ts';

export interface Holdings {
  /** Whom to fetch a blob from. Undefined when the server does not say: then it is the one to ask. */
  source(request: SourceRequest, signal: AbortSignal): Promise<SourceReply | undefined>;
  /** Told to the server soon, together with others; what does not arrive is not told again. */
  tell(change: { added?: readonly string[]; removed?: readonly string[] }): void;
  close(): void;
}

const TOGETHER_MS = 50;
const MOST_AT_ONCE = 10_000;
const SOURCE_TIMEOUT_SECONDS = 20;

export function createHoldings(client: Client, session: () => ZoneSession | undefined, log: Log): Holdings {
  let have = new Map<string, boolean>();
  let timer: NodeJS.Timeout | undefined;

  const send = async (): Promise<void> => {
    timer = undefined;
    const mine = session();
    const told = [...have].slice(0, MOST_AT_ONCE);
    have = new Map([...have].slice(MOST_AT_ONCE));
    if (have.size > 0) plan();
    if (!mine || told.length === 0) return;
    const pick = (wanted: boolean): string[] => told.flatMap(([digest, has]) => (has === wanted ? [digest] : []));
    try {
      const { session: id, headers } = mine;
      const body = { add: pick(true), remove: pick(false) };
      await client.call(workerCalls.holds, { params: { session: id }, headers, body, timeoutSeconds: 30 });
    } catch (error) {
      log.debug({ error: messageOf(error) }, 'could not tell the server what the cache holds');
    }
  };
  const plan = (): void => {
    timer ??= setTimeout(() => void send(), TOGETHER_MS);
  };

  return {
    source: async (body, signal) => {
      const mine = session();
      if (!mine) return undefined;
      try {
        const { session: id, headers } = mine;
        const call = { params: { session: id }, headers, body, timeoutSeconds: SOURCE_TIMEOUT_SECONDS, signal };
        return await client.call(workerCalls.source, call);
      } catch (error) {
        log.debug({ error: messageOf(error) }, 'the server did not say whom to fetch from');
        return undefined;
      }
    },
    tell: ({ added = [], removed = [] }) => {
      for (const digest of added) have.set(digest, true);
      for (const digest of removed) have.set(digest, false);
      if (have.size > 0) plan();
    },
    close: () => clearTimeout(timer),
  };
}
