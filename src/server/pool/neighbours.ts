import type { Digest } from '../../ground/base/digest.ts';
import type { Bin } from '../store/verbs/exchange-input.ts';
import type { ProjectRow } from '../store/verbs/projects.ts';

/** A neighbour wants tasks for its workers, and found none here that are queued. */
export interface Ask {
  readonly peer: string;
  readonly bins: readonly Bin[];
}

export interface KeptCheckpoint {
  readonly submission: number;
  readonly idx: number;
  readonly attempt: number;
  readonly number: number;
  readonly files: readonly {
    readonly name: string;
    readonly digest: string;
    readonly kind: 'file' | 'tree';
    readonly size: number;
  }[];
}

/** What the pool asks of whoever deals with neighbours. */
export interface Neighbours {
  /** Brings bytes of a borrowed task from where it came from. False: it is not there either. */
  fetch(project: ProjectRow, digest: Digest): Promise<boolean>;
  /** A borrowed task may have been checkpointed: its home wants to know. */
  checkpointed(checkpoint: KeptCheckpoint): void;
  /** Those with a link; undefined: another server of this database keeps the links. */
  linked(): ReadonlySet<string> | undefined;
  /** Others may be asked for what a neighbour wants. Returns what is to be called when it wants it no longer. */
  asks(ask: Ask): () => void;
}

export interface NeighbourHooks extends Neighbours {
  /** From here on somebody deals with neighbours. */
  use(neighbours: Neighbours): void;
}

/** Until somebody does there are none. */
export function createNeighbourHooks(): NeighbourHooks {
  let current: Neighbours | undefined;
  return {
    use: (neighbours) => {
      current = neighbours;
    },
    fetch: async (project, digest) => (await current?.fetch(project, digest)) ?? false,
    checkpointed: (checkpoint) => current?.checkpointed(checkpoint),
    linked: () => current?.linked(),
    asks: (ask) => current?.asks(ask) ?? (() => undefined),
  };
}
