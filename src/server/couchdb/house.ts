import type { Log } from '../../ground/base/log.ts';
import type { Actor } from '../access/audit.ts';
import type { Principal } from '../access/principal.ts';
import type { FollowChanges } from '../pool/changes.ts';
import type { Database } from '../pool/documents.ts';
import type { Parts } from '../pool/parts.ts';
import type { Pool } from '../pool/pool.ts';
import type { CouchCall } from './request.ts';
import type { Views } from './views/views.ts';
import type { Door } from './visitors.ts';

/** What every action of the face works with. */
export interface House {
  readonly parts: Parts;
  readonly pool: Pool;
  readonly door: Door;
  readonly views: Views;
  readonly changes: FollowChanges;
  /** Ids of projects that have their standard views by now. */
  readonly furnished: Set<number>;
  readonly log: Log;
}

/** Somebody, as the audit log names them. */
export function actorOf({ visitor, request }: CouchCall): Actor {
  const { name, principal } = visitor;
  return principal ?? { name: name ?? '(nobody)', how: 'CouchDB', address: request.ip };
}

/** The face itself, where it acts for a visitor who was let in. */
export function agentFor(database: Database, name: string | null): Principal {
  return { name: name ?? 'couchdb', tokenId: 0, scopes: ['submit', 'read', 'work'], projects: [database.name] };
}
