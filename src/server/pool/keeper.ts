import { messageOf } from '../../ground/base/errors.ts';
import { rescueTokens } from './documents.ts';
import type { Parts } from './parts.ts';
import { balancePilots, forgetOldPilots } from './pilots.ts';
import { endEnding } from './selection.ts';

const TICK_MS = 200;
const SLOW_TICKS = 5;
const ALIVE_MS = 5000;
const ABANDONED_MS = 60_000;
const PILOTS_MS = 2000;
/** Where something changed, pilots are sent for sooner, but for no more than a twentieth of the time. */
const PILOTS_SOON_MS = 300;
const PILOTS_SHARE = 20;

export interface Keeper {
  /** Something changed: counts are folded with the next tick instead of a later one. */
  dirty(): void;
  /** Resolves when the round that is under way is over. */
  stop(): Promise<void>;
}

/** What has to happen by itself: counts are added up, leases expire, waiting tasks come due, what is ending is ended, pilots are sent for. */
export function startKeeper(parts: Omit<Parts, 'dirty'>, serverId: string): Keeper {
  let isDirty = true;
  let tick = 0;
  let lastAlive = 0;
  let lastAbandoned = 0;
  let changedForPilots = false;
  let nextPilots = { soon: 0, late: 0 };
  let stopped = false;
  let round: Promise<void> = Promise.resolve();
  const dirty = () => {
    isDirty = true;
  };
  const withDirty: Parts = { ...parts, dirty };

  const oneRound = async () => {
    const slow = tick++ % SLOW_TICKS === 0;
    const wasDirty = isDirty;
    if (isDirty || slow) {
      isDirty = false;
      await fold(withDirty);
    }
    if (slow) await expire(withDirty);
    const now = performance.now();
    if (now - lastAlive > ALIVE_MS) {
      lastAlive = now;
      await parts.store.beatServer({ id: serverId });
    }
    if (now - lastAbandoned > ABANDONED_MS) {
      lastAbandoned = now;
      while ((await parts.store.removeChunk({ olderThanMs: parts.settings.abandonedAfterMs })) > 0);
      await forgetOldPilots(withDirty);
      await forgetOldPeople(parts);
    }
    changedForPilots ||= wasDirty;
    if (now > nextPilots.late || (changedForPilots && now > nextPilots.soon)) {
      changedForPilots = false;
      await balancePilots(withDirty);
      const over = performance.now();
      nextPilots = { soon: over + Math.max(PILOTS_SOON_MS, PILOTS_SHARE * (over - now)), late: now + PILOTS_MS };
    }
  };

  const next = () => {
    round = oneRound().catch((error: unknown) =>
      parts.log.error({ err: error }, `keeping the pool failed, it will be tried again: ${messageOf(error)}`),
    );
    void round.then(() => {
      if (!stopped) timer = setTimeout(next, TICK_MS);
    });
  };
  let timer = setTimeout(next, 0);
  return {
    dirty,
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await round;
      clearTimeout(timer);
    },
  };
}

const SESSIONS_KEPT_MS = 7 * 86_400_000;
const AUDIT_CHUNK = 10_000;

/** What people did so long ago that nobody asks any more, and logins that are over. */
async function forgetOldPeople({ store, settings }: Pick<Parts, 'store' | 'settings'>): Promise<void> {
  await store.forgetSessions({ olderThanMs: SESSIONS_KEPT_MS });
  while ((await store.forgetAudit({ olderThanMs: settings.auditKeptMs, limit: AUDIT_CHUNK })) === AUDIT_CHUNK);
}

async function fold(parts: Parts): Promise<void> {
  for (;;) {
    const { touched, released, madeRoom } = await parts.store.foldCounts({ halfLifeMs: parts.settings.halfLifeMs });
    if (touched.length === 0) break;
    for (const submission of touched) parts.signals.changed(submission);
    if (released > 0 || madeRoom) parts.signals.queued();
  }
  await endEnding(parts);
}

async function expire(parts: Parts): Promise<void> {
  await rescueTokens(parts);
  const rescued = await parts.store.rescueExpired();
  if (rescued > 0) parts.log.warn({ rescued }, 'workers were not heard of any more: what they ran is queued again');
  const due = await parts.store.releaseDue();
  if (rescued + due > 0) {
    parts.dirty();
    parts.signals.queued();
  }
  if (parts.store.dialect === 'postgres' && (await parts.store.anyClaimable())) parts.signals.queued();
}
