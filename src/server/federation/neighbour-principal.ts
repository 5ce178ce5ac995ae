import { PilotageError } from '../../ground/base/errors.ts';
import type { Terms } from '../../ground/protocol/peer.ts';
import type { Principal } from '../access/principal.ts';
import type { Store } from '../store/store.ts';
import type { PeerRow } from '../store/verbs/peers.ts';
import type { ProjectHome } from './delegation/borrow.ts';

/** Neighbours as those who ask: what each may do here, and whose tasks it may have. */
export interface Principals {
  /** Rejects for one that is no neighbour (any more). */
  find(peer: string): Promise<Principal>;
  /** Something of it changed. */
  forget(): void;
}

const KNOWN_MS = 1000;

export function createPrincipals(store: Store, rowOf: (peer: string) => PeerRow | undefined): Principals {
  let known = new Map<string, { readonly principal: Principal; readonly until: number }>();
  return {
    // What is being looked up goes where nobody finds it.
    forget: () => {
      known = new Map();
    },
    async find(peer) {
      const found = known.get(peer);
      if (found && found.until > performance.now()) return found.principal;
      const row = rowOf(peer);
      if (!row || (row.state !== 'trusted' && row.state !== 'ending'))
        throw new PilotageError(
          'forbidden',
          "this server is no neighbour (any more): ask with 'pilotage peer connect'",
        );
      const into = known;
      const principal = await principalOf(store, row);
      into.set(peer, { principal, until: performance.now() + KNOWN_MS });
      return principal;
    },
  };
}

async function principalOf(store: Store, { id, name, state, terms, their_terms: theirs }: PeerRow): Promise<Principal> {
  const { send } = JSON.parse(terms) as Terms;
  const { projects: wanted } = JSON.parse(theirs ?? '{}') as Terms;
  const may = (await store.listProjects()).filter((project) =>
    project.home === null
      ? !send || send.includes(project.name)
      : !(JSON.parse(project.home) as ProjectHome).path.includes(id),
  );
  const isWanted = (project: (typeof may)[number]) =>
    !wanted || (project.home === null && wanted.includes(project.name));
  return {
    name: `@${name}`,
    tokenId: 0,
    scopes: state === 'trusted' ? ['work'] : [],
    // What it has already it brings to an end, with its files, whatever is sent to it from now on.
    projects: [...new Set([...may.map((project) => project.name), ...(await store.peerProjects({ id }))])],
    peer: { id, projectIds: may.filter(isWanted).map((project) => project.id) },
  };
}
