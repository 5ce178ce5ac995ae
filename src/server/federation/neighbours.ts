import { PilotageError } from '../../ground/base/errors.ts';
import { type Client, createClient } from '../../ground/client/client.ts';
import type { Transport } from '../../ground/client/transport.ts';
import type { PeerNews } from '../../ground/protocol/peer.ts';
import type { Store } from '../store/store.ts';
import type { PeerRow } from '../store/verbs/peers.ts';
import type { Borrower } from './delegation/borrower.ts';

/** A neighbour as it is known now. */
export interface Neighbour {
  row: PeerRow;
  /** What it told last over the link that there is. */
  heard: PeerNews | undefined;
  /** Of its link, in milliseconds. */
  roundTrip: number;
  readonly client: Client;
  /** Looks after what is here of it, or will soon. */
  borrower: Promise<Borrower> | undefined;
  ready: Borrower | undefined;
}

export interface NeighboursOptions {
  readonly store: Store;
  readonly transport: (peer: string) => Transport;
  readonly borrow: (one: Neighbour) => Promise<Borrower>;
  readonly onFailure: (what: string, error: unknown) => void;
}

/** The table of neighbours, as read last, and who looks after what is here of each. */
export interface Neighbours {
  /** Those that asked or were asked too. */
  rows(): readonly PeerRow[];
  row(peer: string): PeerRow | undefined;
  find(peer: string): Neighbour | undefined;
  all(): Iterable<Neighbour>;
  /** Rejects with `not-found`. */
  clientOf(peer: string): Client;
  /** Reads the table. What is asked from then on answers by it; `settle` does what follows from it. */
  read(): Promise<void>;
  settle(): Promise<void>;
  /** One for each neighbour, whether there is a link or not: what is here of it is looked after in any case. */
  startBorrowers(): Promise<void>;
  endBorrower(one: Neighbour): Promise<void>;
  endBorrowers(): Promise<void>;
}

export function createNeighbours({ store, transport, borrow, onFailure }: NeighboursOptions): Neighbours {
  const known = new Map<string, Neighbour>();
  let rows: PeerRow[] = [];

  const newNeighbour = (row: PeerRow): Neighbour => ({
    row,
    heard: undefined,
    roundTrip: 0,
    client: createClient(transport(row.id), () => undefined),
    borrower: undefined,
    ready: undefined,
  });
  const endBorrower = async (one: Neighbour): Promise<void> => {
    const ending = one.borrower;
    one.ready = undefined;
    one.heard = undefined;
    await (await ending)?.stop();
    // Only then another one may look after what is here.
    if (one.borrower === ending) one.borrower = undefined;
  };

  return {
    rows: () => rows,
    row: (peer) => rows.find(({ id }) => id === peer),
    find: (peer) => known.get(peer),
    all: () => known.values(),
    clientOf(peer) {
      const one = known.get(peer);
      if (!one) throw new PilotageError('not-found', `there is no neighbour ${peer.slice(0, 12)} (any more)`);
      return one.client;
    },
    async read() {
      rows = await store.listPeers();
    },
    async settle() {
      const states = new Map(rows.map(({ id, state }) => [id, state]));
      for (const row of rows) {
        const one = known.get(row.id);
        if (one) one.row = row;
        else known.set(row.id, newNeighbour(row));
      }
      for (const [id, one] of known) {
        if (states.get(id) === 'trusted') continue;
        await endBorrower(one);
        if (!states.has(id)) known.delete(id);
      }
    },
    async startBorrowers() {
      for (const one of known.values()) {
        if (one.row.state !== 'trusted' || one.borrower) continue;
        one.borrower = borrow(one);
        await one.borrower.then(
          (borrower) => {
            one.ready = borrower;
          },
          (error: unknown) => {
            one.borrower = undefined;
            onFailure(`nothing can be borrowed from ${one.row.name}`, error);
          },
        );
      }
    },
    endBorrower,
    async endBorrowers() {
      for (const one of known.values()) await endBorrower(one);
    },
  };
}
