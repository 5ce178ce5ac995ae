import type { Place } from '../../ground/protocol/peer.ts';

const MOST_PLACES = 8;

/** What was told last comes first; where it was found before is tried after that. */
export function mergePlaces(told: readonly Place[], known: readonly Place[]): Place[] {
  const seen = new Map([...told, ...known].map(({ host, port }) => [`${host} ${port}`, { host, port }]));
  return [...seen.values()].slice(0, MOST_PLACES);
}

/** What third ones say is tried too, and takes away none of the places where it was found last. */
export function addPlaces(known: readonly Place[], said: readonly Place[]): Place[] {
  const half = MOST_PLACES / 2;
  return mergePlaces([...known.slice(0, half), ...said.slice(0, half)], known);
}
