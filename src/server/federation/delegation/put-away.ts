import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../../../ground/base/errors.ts';
import type { Parts } from '../../pool/parts.ts';
import { type HeldTasks, localName } from './held-tasks.ts';
import type { LocalKey } from './live-task.ts';

export interface PutAwayOptions {
  readonly parts: Parts;
  readonly peerId: () => string;
  readonly held: HeldTasks;
  readonly signal: AbortSignal;
  /** Resolves when what claims and cancellations have begun is on disk. */
  readonly settled: () => Promise<void>;
  /** False: another server of this database looks after the neighbour. */
  readonly mayLookAfter: () => Promise<boolean>;
  readonly onChange: () => void;
}

export interface PutAway {
  /** Something is leaving. */
  soon(): void;
  /** Of all that ended: what nobody here knows of, and has not for a while. */
  strays(found: readonly LocalKey[]): Promise<void>;
}

const AGAIN_MS = 1000;
const STRAY_MS = 60_000;

/** Takes out of the pool what the neighbour has been told of. */
export function createPutAway(options: PutAwayOptions): PutAway {
  const { parts, peerId, held, signal, mayLookAfter, onChange } = options;
  const { store, log } = parts;
  const unknownSince = new Map<string, number>();
  let isBusy = false;

  const settle = async (keys: readonly LocalKey[], cpuMs: number): Promise<void> => {
    const over = await store.settleBorrowed({ peerId: peerId(), cpuMs, keys });
    held.forget(keys);
    for (const id of over) await store.forgetSubmission({ id });
    parts.dirty();
  };
  const putAwayAll = async (): Promise<void> => {
    // Where a task is comes to be known while claims are stored; one that nobody wants is ended only then.
    await options.settled();
    const tasks = held.takeLeaving();
    const keys = tasks.flatMap(({ local }) => (local ? [local] : []));
    if (keys.length === 0) return;
    try {
      if (!(await mayLookAfter())) return;
      const cpuMs = tasks.reduce((sum, task) => sum + task.cpuMs, 0);
      await settle(keys, cpuMs);
    } catch (error) {
      // Still here, and told again after a restart: later.
      held.putBack(tasks);
      throw error;
    }
  };
  const run = async (): Promise<void> => {
    while (held.leavingCount > 0 && !signal.aborted) {
      try {
        await putAwayAll();
        onChange();
      } catch (error) {
        if (signal.aborted) break;
        log.error({ err: error }, `borrowed tasks were not put away, they will be: ${messageOf(error)}`);
        await pause(AGAIN_MS, undefined, { signal, ref: false }).catch(() => undefined);
      }
    }
    isBusy = false;
  };

  return {
    soon() {
      if (isBusy) return;
      isBusy = true;
      setImmediate(run);
    },
    async strays(found) {
      const unknown = found.filter((key) => !held.at(key));
      const names = new Set(unknown.map(localName));
      for (const name of unknownSince.keys()) if (!names.has(name)) unknownSince.delete(name);
      const now = performance.now();
      for (const name of names) if (!unknownSince.has(name)) unknownSince.set(name, now);
      const old = unknown.filter((key) => now - (unknownSince.get(localName(key)) ?? now) > STRAY_MS);
      if (old.length === 0 || !(await mayLookAfter())) return;
      // They have no way home, and their home gave them to others long ago.
      log.warn(
        { peer: peerId().slice(0, 12), tasks: old.length },
        'borrowed tasks that nobody looks after are put away',
      );
      await settle(old, 0);
    },
  };
}
