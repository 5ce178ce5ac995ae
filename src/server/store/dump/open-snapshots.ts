import type { Snapshot } from './snapshot.ts';

/** The snapshots that are open: a store that closes ends them. */
export interface OpenSnapshots {
  open(make: () => Promise<Snapshot>): Promise<Snapshot>;
  close(): Promise<void>;
}

export function openSnapshots(): OpenSnapshots {
  const open = new Set<Snapshot>();
  return {
    async open(make) {
      const made = await make();
      const kept: Snapshot = {
        pieces: () => made.pieces(),
        close: async () => {
          if (open.delete(kept)) await made.close();
        },
      };
      open.add(kept);
      return kept;
    },
    close: async () => void (await Promise.all([...open].map((snapshot) => snapshot.close()))),
  };
}
