import { createInterface } from 'node:readline';
import type { Client } from '../../../ground/client/client.ts';
import { ServerUnreachable } from '../../../ground/client/transport.ts';
import type { LogEvent, LogStream } from '../../../ground/protocol/log.ts';
import { calls } from '../calls.ts';
import { type Patience, repeat } from '../repeat.ts';

export interface LogRequest {
  readonly id: string;
  readonly attempt?: number;
  readonly stream?: LogStream;
  readonly follow: boolean;
}

/** The end of a task, as its log tells it. */
export type LogEnd = NonNullable<LogEvent['end']>;

/** While following, a connection on which nothing came for so long is taken for dead and made anew. */
const SILENCE_SECONDS = 60;

/**
 * Gives the output of a task piece by piece to `onEvent`, each byte once, through restarts of the server. Resolves with
 * the end, or without one where the task goes on and was not to be followed.
 */
export async function readLogs(
  client: Client,
  request: LogRequest,
  { onEvent, patience }: { onEvent: (event: LogEvent) => Promise<void>; patience: Patience },
): Promise<LogEnd | undefined> {
  const seen = { stdout: 0, stderr: 0, attempt: request.attempt };
  for (;;) {
    const end = await repeat(() => readOnce(client, request, { seen, onEvent, patience }), patience);
    if (end !== 'broken') return end;
  }
}

interface Seen {
  stdout: number;
  stderr: number;
  attempt: number | undefined;
}

interface Reading {
  readonly seen: Seen;
  readonly onEvent: (event: LogEvent) => Promise<void>;
  readonly patience: Patience;
}

async function readOnce(
  client: Client,
  request: LogRequest,
  { seen, onEvent, patience }: Reading,
): Promise<LogEnd | undefined | 'broken'> {
  const { follow, stream, attempt } = request;
  const query = { ...(follow ? { follow } : {}), ...(stream ? { stream } : {}), ...(attempt ? { attempt } : {}) };
  const { signal } = patience;
  const body = await client.stream(calls.logs, { params: { id: request.id }, query, ...(signal ? { signal } : {}) });
  let alarm = setTimeout(() => {}, 0);
  const stillThere = (): void => {
    clearTimeout(alarm);
    alarm = setTimeout(() => body.destroy(new Error('silence')), SILENCE_SECONDS * 1000);
  };
  try {
    stillThere();
    body.on('data', stillThere);
    for await (const line of createInterface({ input: body })) {
      if (line === '') continue;
      const event = JSON.parse(line) as LogEvent;
      if (event.end) return event.end;
      const fresh = freshPart(event, seen);
      if (fresh) await onEvent(fresh);
    }
  } catch (error) {
    if (signal?.aborted) throw error;
    if (!follow) throw new ServerUnreachable('the server', error);
  } finally {
    clearTimeout(alarm);
    body.destroy();
  }
  return follow ? 'broken' : undefined;
}

/** What of a piece has not been given yet. */
function freshPart(event: LogEvent, seen: Seen): LogEvent | undefined {
  const { stream, attempt, offset = 0, data } = event;
  if (!stream || data === undefined) return undefined;
  if (attempt !== undefined && attempt !== seen.attempt) Object.assign(seen, { stdout: 0, stderr: 0, attempt });
  const bytes = Buffer.from(data, 'base64');
  const known = Math.max(0, seen[stream] - offset);
  seen[stream] = Math.max(seen[stream], offset + bytes.length);
  if (known >= bytes.length) return undefined;
  return known === 0 ? event : { ...event, offset: offset + known, data: bytes.subarray(known).toString('base64') };
}
