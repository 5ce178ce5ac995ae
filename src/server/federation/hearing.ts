import type { PeerNews, Place } from '../../ground/protocol/peer.ts';
import { isShapeKey } from '../core/shape.ts';
import type { Store } from '../store/store.ts';
import type { Links } from './links.ts';
import type { Neighbours } from './neighbours.ts';
import type { NetworkMap } from './network-map.ts';
import { addPlaces, mergePlaces } from './places.ts';

export interface HearingOptions {
  readonly store: Store;
  readonly neighbours: Neighbours;
  readonly links: Links;
  readonly map: NetworkMap;
  /** What is in the table changed. */
  readonly onChange: () => Promise<void>;
  /** There is something that others may want to know. */
  readonly onNews: () => void;
  /** There may be something to be had of it. */
  readonly onDemand: (peer: string) => void;
}

/** Takes in what a neighbour tells: where it is, what it lends, what it has to be done, and whom it knows. */
export function createHearing(options: HearingOptions): (peer: string, told: PeerNews) => Promise<void> {
  const { store, neighbours, links, map, onChange, onNews, onDemand } = options;

  /** A neighbour that cannot be reached where it was may have told others where it is now. */
  const followPlaces = async (): Promise<void> => {
    let any = false;
    for (const { row } of neighbours.all()) {
      const entry = map.find(row.id);
      if (row.state !== 'trusted' || links.find(row.id) || !entry || entry.places.length === 0) continue;
      const places = JSON.stringify(addPlaces(JSON.parse(row.places) as Place[], entry.places));
      if (places === row.places) continue;
      await store.notePeer({ id: row.id, places, version: null, theirTerms: null });
      any = true;
    }
    if (any) await onChange();
  };

  return async (peer, told) => {
    const one = neighbours.find(peer);
    if (one?.row.state !== 'trusted') return;
    const isNew = one.heard === undefined;
    // What another version tells, or nobody sane, must not keep the others from being asked.
    one.heard = { ...told, demand: told.demand.filter(({ shape }) => isShapeKey(shape)) };
    const theirTerms = JSON.stringify(told.terms);
    const places = JSON.stringify(mergePlaces(told.places, JSON.parse(one.row.places) as Place[]));
    if (one.row.their_terms !== theirTerms || one.row.places !== places || one.row.version !== told.version) {
      await store.notePeer({ id: peer, places, version: told.version, theirTerms });
      await onChange();
    }
    if (map.merge(told.map)) {
      await followPlaces();
      onNews();
    }
    if (isNew || told.demand.length > 0) onDemand(peer);
    // What it has for us others may want.
    onNews();
  };
}
