import { linkRoutes } from '../../ground/protocol/peer-routes.ts';
import type { Parts } from '../pool/parts.ts';
import type { PeerRow } from '../store/verbs/peers.ts';
import type { Links } from './links.ts';
import type { Neighbour, Neighbours } from './neighbours.ts';

export interface PartingOptions {
  readonly parts: Parts;
  readonly links: Links;
  readonly neighbours: Neighbours;
  /** The table changed: whoever asks is answered by it from now on. */
  readonly onRead: () => Promise<void>;
  /** What follows from it is to be done. */
  readonly onEnd: () => Promise<void>;
}

/** The end of a trust: nothing of one is left at the other. */
export interface Parting {
  part(row: PeerRow, by: 'us' | 'them'): Promise<void>;
  /** Tells a server that it is no neighbour any more. Rejects when it cannot be told now. */
  sayFarewell(one: Neighbour): Promise<void>;
}

const FAREWELL_SECONDS = 10;

export function createParting({ parts, links, neighbours, onRead, onEnd }: PartingOptions): Parting {
  const { store, signals, log } = parts;

  const sayFarewell = async ({ row, client }: Neighbour): Promise<void> => {
    await client.call(linkRoutes.farewell, { body: {}, timeoutSeconds: FAREWELL_SECONDS });
    await store.forgetPeer({ id: row.id });
    links.find(row.id)?.close();
    await onEnd();
  };
  const putAway = async (peerId: string): Promise<void> => {
    const sessions = await store.endBorrowed({ peerId });
    await store.alertWorkers({ sessions });
    for (const session of sessions) signals.session(session);
    const back = await store.dropPeerSessions({ peerId });
    parts.dirty();
    if (back > 0) signals.queued();
  };

  return {
    sayFarewell,
    async part(row, by) {
      const was = await store.revokePeer({ id: row.id, as: by === 'us' ? 'ending' : 'revoked' });
      if (!was) return;
      // From here on it gets nothing more, also with what it asks just now.
      await onRead();
      const one = neighbours.find(row.id);
      if (one) await neighbours.endBorrower(one);
      await putAway(row.id);
      // A request that was never answered binds nobody.
      if (by === 'us' && was.state !== 'trusted' && was.state !== 'sent') await store.forgetPeer({ id: row.id });
      if (by === 'them') links.find(row.id)?.close();
      // One that cannot be told now is told when it next has a link.
      else if (one && links.find(row.id))
        await sayFarewell(one).catch((error: unknown) =>
          log.debug({ err: error, peer: row.name }, 'a server was not told yet that the trust is over'),
        );
      log.info({ peer: row.name, by }, 'the trust between two servers is over');
    },
  };
}
