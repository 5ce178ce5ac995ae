import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { messageOf } from '../../../ground/base/errors.ts';

const CHANNEL = 'pilotage';
const GATHER_MS = 5;
const RECONNECT_MS = 1000;
const LONGEST_PAYLOAD = 7000;

export interface Notes {
  tell(note: string): void;
  close(): Promise<void>;
}

/**
 * Notes between servers of one database, on a connection of its own. What piles up within a few milliseconds goes out
 * together, each note once. While the connection is away notes are lost: those who wait look again every second anyway.
 */
export async function listen(
  url: string,
  hear: (note: string) => void,
  log: (message: string) => void,
): Promise<Notes> {
  const pending = new Set<string>();
  let client: pg.Client | undefined;
  let closed = false;
  let timer: NodeJS.Timeout | undefined;

  const connect = async () => {
    const next = new pg.Client({ connectionString: url, application_name: 'pilotage notes', keepAlive: true });
    next.on('notification', ({ payload }) => {
      for (const note of (payload ?? '').split('\n')) hear(note);
    });
    next.on('error', () => undefined);
    next.on('end', () => {
      if (client === next) void reconnect();
    });
    await next.connect();
    await next.query(`listen ${CHANNEL}`);
    client = next;
  };
  const reconnect = async () => {
    client = undefined;
    while (!closed && !client) {
      await pause(RECONNECT_MS);
      await connect().catch((error: unknown) => log(`no connection to PostgreSQL for notes: ${messageOf(error)}`));
    }
  };
  const send = () => {
    timer = undefined;
    for (const payload of packed(pending))
      client
        ?.query('select pg_notify($1, $2)', [CHANNEL, payload])
        .catch((error: unknown) => log(`a note was not sent: ${messageOf(error)}`));
    pending.clear();
  };

  await connect();
  return {
    tell(note) {
      pending.add(note);
      timer ??= setTimeout(send, GATHER_MS);
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      await client?.end();
    },
  };
}

function packed(notes: ReadonlySet<string>): string[] {
  const payloads: string[] = [];
  let payload = '';
  for (const note of notes) {
    if (payload.length + note.length > LONGEST_PAYLOAD) {
      payloads.push(payload);
      payload = '';
    }
    payload = payload === '' ? note : `${payload}\n${note}`;
  }
  return payload === '' ? payloads : [...payloads, payload];
}
