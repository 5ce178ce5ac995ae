import type { PeerView, Place, Terms } from '../../ground/protocol/peer.ts';
import type { PeerRow } from '../store/verbs/peers.ts';

/** A neighbour, or a request, as administrators see it. */
export function viewOfPeer(
  row: PeerRow,
  counts: readonly { peer_id: string; here: number; there: number }[],
  /** For so long its link has been silent; undefined: it has none. */
  silentMs: number | undefined,
): PeerView {
  const isUp = silentMs !== undefined;
  const [place] = JSON.parse(row.places) as Place[];
  const count = counts.find(({ peer_id: id }) => id === row.id);
  const isTrusted = row.state === 'trusted';
  return {
    id: row.id,
    name: row.name,
    state: stateOf(row, isUp),
    priority: isTrusted ? Number(row.priority) : null,
    host: place?.host ?? null,
    port: place?.port ?? null,
    since: new Date(Number(row.since)).toISOString(),
    lastContact: isUp ? timeOf(Date.now() - silentMs) : timeOf(row.seen_at),
    error: isUp ? null : row.error,
    version: row.version,
    terms: JSON.parse(row.terms) as Terms,
    theirTerms: row.their_terms === null ? null : (JSON.parse(row.their_terms) as Terms),
    lentHours: hours(row.lent_ms),
    borrowedHours: hours(row.borrowed_ms),
    here: count?.here ?? 0,
    there: count?.there ?? 0,
  };
}

function stateOf({ state }: PeerRow, isUp: boolean): PeerView['state'] {
  if (state === 'trusted') return isUp ? 'connected' : 'unreachable';
  return state === 'ending' ? 'revoked' : state;
}

function timeOf(ms: number | null): string | null {
  return ms === null ? null : new Date(Number(ms)).toISOString();
}

function hours(ms: number): number {
  return Math.round(Number(ms) / 36) / 100_000;
}
