import type { Log } from '../../ground/base/log.ts';
import type { Audit } from '../access/audit.ts';
import type { Blobs } from '../blobs/blobs.ts';
import type { Store } from '../store/store.ts';
import type { Links } from './links.ts';
import type { NeighbourHooks } from './neighbours.ts';
import type { PoolSettings } from './settings.ts';
import type { Signals } from './signals.ts';
import type { Tickets } from './tickets.ts';

/** What every action of the pool works with. */
export interface Parts {
  readonly store: Store;
  readonly blobs: Blobs;
  readonly audit: Audit;
  readonly signals: Signals;
  readonly tickets: Tickets;
  readonly links: Links;
  readonly neighbours: NeighbourHooks;
  readonly settings: PoolSettings;
  readonly version: string;
  /** Says that counts are to be folded soon. */
  readonly dirty: () => void;
  /** Ends every wait when the server stops. */
  readonly closing: AbortSignal;
  readonly log: Log;
}
