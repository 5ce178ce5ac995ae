import { messageOf } from '../../../ground/base/errors.ts';
import type { Claim } from '../../../ground/protocol/exchange.ts';
import type { Shape } from '../../core/shape.ts';
import type { Parts } from '../../pool/parts.ts';
import type { PeerRow } from '../../store/verbs/peers.ts';
import type { Identity } from '../identity.ts';
import { type Taken, toGroups } from './borrow.ts';
import type { HeldTasks } from './held-tasks.ts';
import type { LiveTask } from './live-task.ts';

export interface TakeInOptions {
  readonly parts: Parts;
  readonly identity: Identity;
  /** As it stands now. */
  readonly peer: () => PeerRow;
  readonly held: HeldTasks;
  /** False: another server of this database looks after the neighbour. */
  readonly mayLookAfter: () => Promise<boolean>;
  /** It is not wanted any more; that came to be known before it was stored. */
  readonly onDrop: (task: LiveTask) => void;
}

export interface TakeIn {
  add(taken: Taken, shape: Shape): void;
  /** What was added and is not in the pool yet, where it is counted. */
  arriving(): readonly Shape[];
  /** The neighbour gets it back as it came. */
  release(claim: Claim): void;
  /** Resolves when all that was added is on disk, or released, also what is added meanwhile. */
  settled(): Promise<void>;
}

/** Puts claims of a neighbour into our pool. Until they are on disk the neighbour may take them for lost, and give them again. */
export function createTakeIn({ parts, identity, peer, held, mayLookAfter, onDrop }: TakeInOptions): TakeIn {
  const { store, log, signals } = parts;
  let incoming: Taken[] = [];
  let arriving: Shape[] = [];
  let flushing: Promise<void> = Promise.resolve();

  const release = ({ task, attempt, secret }: Claim): void => {
    held.find({ task, attempt })?.finish({ task, attempt, secret, outcome: 'released' });
  };
  /** All claims of one answer go in together. */
  const flush = async (): Promise<void> => {
    await Promise.resolve();
    const isOurs = await mayLookAfter();
    const taken = incoming;
    incoming = [];
    await keep(taken, isOurs);
    arriving = arriving.slice(taken.length);
  };
  const keep = async (taken: readonly Taken[], isOurs: boolean): Promise<void> => {
    // Nobody would hear how these ended. The neighbour sees that they are not held, and gives them again.
    if (!isOurs) return;
    try {
      const groups = toGroups(taken, peer(), identity);
      const ids = await store.borrowTasks({ groups });
      for (const [i, group] of groups.entries())
        for (const one of group.tasks) {
          const task = held.place(one, { submission: ids[i] as number, idx: one.idx });
          if (task?.isDropped) onDrop(task);
        }
      parts.dirty();
      signals.queued();
    } catch (error) {
      log.error(
        { err: error, tasks: taken.length },
        `borrowed tasks could not be kept and are given back: ${messageOf(error)}`,
      );
      for (const { claim } of taken) release(claim);
    }
  };

  return {
    add(taken, shape) {
      incoming.push(taken);
      arriving.push(shape);
      if (incoming.length === 1) flushing = flushing.then(flush);
    },
    arriving: () => arriving,
    release,
    async settled() {
      while (arriving.length > 0) await flushing;
    },
  };
}
