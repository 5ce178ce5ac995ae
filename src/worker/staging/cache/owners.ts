import { isAlive, isElsewhere, type ProcessIdentity, thisProcess } from '../process-identity.ts';
import type { Statements } from './cache-schema.ts';

/** An owner that cannot be seen from here (another container) counts as alive for so long. */
const UNSEEN_MS = 86_400_000;

interface OwnerRow extends ProcessIdentity {
  readonly id: number;
  readonly seenAt: number;
}

/** The number of this process among the owners. */
export function register(at: Statements): number {
  const me = thisProcess();
  const key = [me.boot, me.space ?? '', me.pid, me.startTime] as const;
  const known = at.find<{ id: number }>('findOwner', ...key);
  if (known) {
    at.run('seeOwner', Date.now(), known.id);
    return known.id;
  }
  at.run('addOwner', me.host, ...key, Date.now());
  return at.find<{ id: number }>('findOwner', ...key)?.id ?? 0;
}

/** The disk is this machine's own: what ran in another boot is gone, whatever it was called then. */
function counts(owner: OwnerRow): boolean {
  if (owner.boot !== thisProcess().boot) return false;
  return isElsewhere(owner) ? Date.now() - owner.seenAt < UNSEEN_MS : isAlive(owner);
}

/** What dead processes held or fetched is free again. */
export function forgetDead(at: Statements): void {
  for (const owner of at.all<OwnerRow>('owners')) if (!counts(owner)) dropOwner(at, owner.id);
}

function dropOwner(at: Statements, id: number): void {
  at.run('dropOwnersPins', id);
  at.run('dropOwnersFetching', id);
  at.run('dropOwner', id);
}
