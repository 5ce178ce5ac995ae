import type { Duplex } from 'node:stream';

/** Those who dialled and have not shown who they are. */
export interface Strangers {
  /** One more. Where there are too many, one of those goes of whom most come from one address, the oldest. Returns what ends it. */
  enter(raw: Duplex): () => void;
  /** All of them go. */
  close(): void;
}

export function createStrangers(most: number): Strangers {
  const all = new Map<Duplex, string>();
  return {
    enter(raw) {
      if (all.size >= most) putOut(all);
      all.set(raw, addressOf(raw));
      return () => void all.delete(raw);
    },
    close() {
      for (const raw of all.keys()) raw.destroy();
      all.clear();
    },
  };
}

function putOut(all: Map<Duplex, string>): void {
  const byAddress = [...Map.groupBy(all, ([, address]) => address).values()];
  const crowd = byAddress.reduce((a, b) => (b.length > a.length ? b : a));
  const [raw] = crowd[0] as [Duplex, string];
  all.delete(raw);
  raw.destroy();
}

function addressOf(raw: Duplex): string {
  return 'remoteAddress' in raw ? String(raw.remoteAddress) : '';
}
