import { generateKeyPairSync, sign } from 'node:crypto';

/** What a ticket says; the protocol tells the format. */
export interface TicketFacts {
  readonly digest: string;
  readonly holder: string;
  readonly expires: number;
}

/** Signs tickets with which workers fetch blobs from each other. The key lives as long as the server process. */
export interface Tickets {
  /** Ed25519, SPKI, base64. */
  readonly publicKey: string;
  issue(facts: TicketFacts): string;
}

export function createTickets(): Tickets {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  return {
    publicKey: publicKey.export({ type: 'spki', format: 'der' }).toString('base64'),
    issue: (facts) => {
      const payload = Buffer.from(JSON.stringify(facts)).toString('base64url');
      return `${payload}.${sign(null, Buffer.from(payload), privateKey).toString('base64url')}`;
    },
  };
}
