import type { MapEntry, Place } from '../../ground/protocol/peer.ts';

/** What is known of the network: what each server told of itself, passed on from one to the next. */
export interface NetworkMap {
  /** What this server tells of itself. Returns whether that is new. */
  tell(own: {
    readonly name: string;
    readonly places: readonly Place[];
    readonly neighbours: readonly string[];
  }): boolean;
  /** Takes in what a neighbour passed on. Returns whether any of it is new. */
  merge(entries: readonly MapEntry[]): boolean;
  /** This server first. */
  all(): MapEntry[];
  find(id: string): MapEntry | undefined;
  /** The neighbour through which the way to a server is shortest, of those given. */
  nextHop(to: string, links: readonly string[], avoid: readonly string[]): string | undefined;
}

/** What nobody repeats is gone: each server tells of itself anew within. */
const REPEATED_MS = 600_000;
const BELIEVED_MS = 3 * REPEATED_MS;
const MOST = 500;

export function createNetworkMap(self: string, now: () => number): NetworkMap {
  let own: MapEntry = { id: self, name: '', stamp: 0, places: [], neighbours: [] };
  let toldAt = 0;
  const others = new Map<string, { readonly entry: MapEntry; readonly heard: number }>();
  const fresh = (): MapEntry[] =>
    [...others.values()].filter(({ heard }) => now() - heard < BELIEVED_MS).map(({ entry }) => entry);
  const forgetOld = (): void => {
    for (const [id, { heard }] of others) if (now() - heard >= BELIEVED_MS) others.delete(id);
  };
  const find = (id: string): MapEntry | undefined => (id === self ? own : others.get(id)?.entry);
  return {
    tell({ name, places, neighbours }) {
      const next = { id: self, name, places: [...places], neighbours: [...neighbours].sort() };
      if (isSame(own, next) && now() - toldAt < REPEATED_MS) return false;
      // After a restart it must not look older than what others still know.
      own = { ...next, stamp: Math.max(own.stamp + 1, now()) };
      toldAt = now();
      return true;
    },
    merge(entries) {
      let changed = false;
      for (const entry of entries) {
        if (entry.id === self) {
          own = entry.stamp > own.stamp ? { ...own, stamp: entry.stamp + 1 } : own;
          continue;
        }
        const known = others.get(entry.id);
        const isBelieved = known !== undefined && now() - known.heard < BELIEVED_MS;
        // Whoever said something of a time yet to come is not believed longer for it.
        if (isBelieved ? known.entry.stamp >= entry.stamp : known?.entry.stamp === entry.stamp) continue;
        if (!known && others.size >= MOST) forgetOld();
        if (!known && others.size >= MOST) continue;
        others.set(entry.id, { entry, heard: now() });
        changed = true;
      }
      return changed;
    },
    all: () => [own, ...fresh()],
    find,
    nextHop(to, links, avoid) {
      const seen = new Set([self, ...avoid]);
      let front = links.filter((id) => !seen.has(id)).map((id) => ({ id, first: id }));
      while (front.length > 0) {
        const found = front.find(({ id }) => id === to);
        if (found) return found.first;
        for (const { id } of front) seen.add(id);
        front = front.flatMap(({ id, first }) =>
          (find(id)?.neighbours ?? []).filter((next) => !seen.has(next)).map((next) => ({ id: next, first })),
        );
      }
      return undefined;
    },
  };
}

function isSame(a: MapEntry, b: Omit<MapEntry, 'stamp'>): boolean {
  return (['name', 'places', 'neighbours'] as const).every((key) => JSON.stringify(a[key]) === JSON.stringify(b[key]));
}
