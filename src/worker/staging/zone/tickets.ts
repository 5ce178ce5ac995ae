import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import type { Client } from '../../../ground/client/client.ts';
import { workerCalls } from '../../../ground/protocol/worker-calls.ts';
import type { Ticket } from '../../../ground/protocol/zone.ts';

/** Who a worker is to the server, and what the server's clock said when it became that. */
export interface ZoneSession {
  readonly session: string;
  /** What the session's own calls carry. */
  readonly headers: Readonly<Record<string, string>>;
  /** The server's clock, in milliseconds since 1970, now. */
  serverNow(): number;
}

export type Judgement =
  | { readonly ok: true }
  | { readonly ok: false; readonly status: 401 | 403; readonly why: string };

/** Judges tickets with which other workers ask for blobs here. */
export interface TicketJudge {
  judge(ticket: string, digest: string, mine: ZoneSession): Promise<Judgement>;
}

const ASK_KEYS_MS = 3000;

/** Keys are fetched from the server when none that is known fits, at most every few seconds. */
export function createTicketJudge(client: Client): TicketJudge {
  let keys: readonly KeyObject[] = [];
  let askedAt = Number.NEGATIVE_INFINITY;
  let asking: Promise<void> | undefined;

  const askKeys = async (): Promise<void> => {
    if (performance.now() - askedAt < ASK_KEYS_MS) return;
    askedAt = performance.now();
    const reply = await client.call(workerCalls.ticketKeys, { timeoutSeconds: 10 });
    keys = reply.keys.flatMap(toKey);
  };
  const isSigned = async (payload: string, signature: Buffer): Promise<boolean> => {
    if (fits(keys, payload, signature)) return true;
    asking ??= askKeys()
      .catch(() => undefined)
      .finally(() => {
        asking = undefined;
      });
    await asking;
    return fits(keys, payload, signature);
  };

  return {
    judge: async (text, digest, mine) => {
      const parts = text.split('.');
      const ticket = parts.length === 2 ? readTicket(parts[0] ?? '') : undefined;
      if (!ticket) return refuse(401, 'this is not a ticket');
      if (!(await isSigned(parts[0] ?? '', Buffer.from(parts[1] ?? '', 'base64url'))))
        return refuse(401, 'the ticket is not signed by the server of this worker');
      if (ticket.digest !== digest) return refuse(403, 'the ticket is for another blob');
      if (ticket.holder !== mine.session) return refuse(403, 'the ticket is for another worker');
      if (!(ticket.expires > mine.serverNow())) return refuse(403, 'the ticket has expired');
      return { ok: true };
    },
  };
}

function fits(keys: readonly KeyObject[], payload: string, signature: Buffer): boolean {
  return keys.some((key) => verify(null, Buffer.from(payload), key, signature));
}

function toKey(text: string): KeyObject[] {
  try {
    const key = createPublicKey({ key: Buffer.from(text, 'base64'), format: 'der', type: 'spki' });
    return key.asymmetricKeyType === 'ed25519' ? [key] : [];
  } catch {
    return [];
  }
}

function readTicket(payload: string): Ticket | undefined {
  try {
    const value = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as Partial<Ticket> | null;
    const { digest, holder, expires } = value ?? {};
    if (typeof digest !== 'string' || typeof holder !== 'string' || typeof expires !== 'number') return undefined;
    return { digest, holder, expires };
  } catch {
    return undefined;
  }
}

function refuse(status: 401 | 403, why: string): Judgement {
  return { ok: false, status, why };
}
