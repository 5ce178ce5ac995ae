import type { ServeOptions } from '../../face/cli/context.ts';
import { PilotageError } from '../../ground/base/errors.ts';
import { DEFAULT_SETTINGS, type PoolSettings } from '../../server/pool/settings.ts';

/** What the options of `pilotage serve` say of the pool. Throws `bad-request`. */
export function settingsOf(options: ServeOptions): PoolSettings {
  const heartbeatMs =
    options.heartbeatSeconds === undefined ? DEFAULT_SETTINGS.heartbeatMs : options.heartbeatSeconds * 1000;
  const leaseMs = options.leaseSeconds === undefined ? 2 * heartbeatMs : options.leaseSeconds * 1000;
  if (leaseMs < 2 * heartbeatMs)
    throw new PilotageError(
      'bad-request',
      `a lease of ${leaseMs / 1000} s is shorter than two heartbeats of ${heartbeatMs / 1000} s: one late heartbeat would lose a worker. Make the lease longer or the heartbeats more frequent`,
    );
  const blobGraceMs =
    options.blobGraceSeconds === undefined ? DEFAULT_SETTINGS.blobGraceMs : options.blobGraceSeconds * 1000;
  const auditKeptMs =
    options.auditKeepSeconds === undefined ? DEFAULT_SETTINGS.auditKeptMs : options.auditKeepSeconds * 1000;
  const halfLifeMs = halfLifeOf(options);
  const hasSmtp = options.smtp !== undefined;
  return { ...DEFAULT_SETTINGS, heartbeatMs, leaseMs, blobGraceMs, auditKeptMs, halfLifeMs, hasSmtp };
}

function halfLifeOf({ halfLifeSeconds }: ServeOptions): number {
  if (halfLifeSeconds === undefined) return DEFAULT_SETTINGS.halfLifeMs;
  if (halfLifeSeconds >= 1) return halfLifeSeconds * 1000;
  throw new PilotageError(
    'bad-request',
    'a half-life of less than a second is none: give --fair-share-half-life as in 24h',
  );
}
