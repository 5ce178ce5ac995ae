import { PilotageError } from '../../ground/base/errors.ts';
import { type Principal, requireScope } from '../access/principal.ts';
import { bringBlob } from './files.ts';
import type { Parts } from './parts.ts';
import { projectOf } from './projects.ts';

/** A ticket is good for so long: enough to begin a transfer. */
const TICKET_MS = 120_000;
/** A holder that was slow, dead or lying is named to nobody for so long. */
const LEAVE_OUT_MS = 600_000;

export interface SourceFacts {
  readonly project: string;
  readonly digest: string;
  readonly faults?: readonly { readonly holder: string; readonly what: string }[] | undefined;
  readonly serverOnly?: boolean | undefined;
}

export interface WorkerKey {
  readonly session: string;
  readonly secret: string;
}

/** Whom a worker fetches a blob from. No peer in the answer: the server itself. */
export async function findSource(parts: Parts, who: Principal, worker: WorkerKey, facts: SourceFacts) {
  requireScope(who, 'work');
  const row = await projectOf(parts, who, facts.project);
  if (row.peer_id !== null) await bringBlob(parts, row, facts.digest);
  const source = await parts.store.findSource({
    session: worker.session,
    sessionSecret: worker.secret,
    projectId: row.id,
    digest: facts.digest,
    faults: facts.faults ?? [],
    serverOnly: facts.serverOnly ?? false,
    leaveOutMs: LEAVE_OUT_MS,
  });
  if (source === 'unknown-session') throw unknownSession();
  if (source === 'unknown-blob')
    throw new PilotageError('not-found', `project '${facts.project}' has no bytes ${facts.digest}`);
  const { size, peer, now } = source;
  if (!peer) return { size };
  const { holder, complete, share } = peer;
  const ticket = parts.tickets.issue({ digest: facts.digest, holder, expires: now + TICKET_MS });
  return { size, peer: { holder, complete, addresses: JSON.parse(share) as string[], ticket } };
}

export async function setHolds(
  parts: Parts,
  who: Principal,
  worker: WorkerKey,
  holds: { readonly add: readonly string[]; readonly remove: readonly string[] },
): Promise<void> {
  requireScope(who, 'work');
  const { session, secret: sessionSecret } = worker;
  if (!(await parts.store.setHolds({ session, sessionSecret, ...holds }))) throw unknownSession();
}

export async function ticketKeys(parts: Parts, who: Principal): Promise<{ keys: string[] }> {
  requireScope(who, 'work');
  return { keys: await parts.store.ticketKeys({ aliveWithinMs: parts.settings.serverAliveMs }) };
}

function unknownSession(): PilotageError {
  return new PilotageError('session-ended', 'this worker session is not known here (any more): register again');
}
