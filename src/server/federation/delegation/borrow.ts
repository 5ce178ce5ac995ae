/** From a neighbour's claims to tasks of our pool. */
import type { Claim } from '../../../ground/protocol/exchange.ts';
import type { Home, Terms } from '../../../ground/protocol/peer.ts';
import type { TaskSpec } from '../../../ground/protocol/spec.ts';
import { shapeKey } from '../../core/shape.ts';
import { toShape } from '../../pool/new-submission.ts';
import type { Store } from '../../store/store.ts';
import type { BorrowedGroup } from '../../store/verbs/borrowed.ts';
import type { PeerRow } from '../../store/verbs/peers.ts';
import type { Identity } from '../identity.ts';

export interface Taken {
  readonly claim: Claim;
  readonly spec: TaskSpec;
}

/** How a borrowed project is known: what it is called at the neighbour that it came from, and where it is at home. */
export interface ProjectHome {
  readonly at: string;
  readonly server: string;
  readonly name: string;
  readonly project: string;
  readonly path: readonly string[];
}

/** Where a task is at home; one that the neighbour itself borrowed says so. */
export function homeOf(claim: Claim, peer: PeerRow): Home {
  const { task, attempt, project, home } = claim;
  if (!home) return { server: peer.id, name: peer.name, project, task, attempt, path: [peer.id] };
  return { ...home, path: [...home.path, peer.id] };
}

/** Claims of one submission at the neighbour, and of one home, stay together, one row each. */
export function toGroups(taken: readonly Taken[], peer: PeerRow, identity: Identity): BorrowedGroup[] {
  const terms = JSON.parse(peer.terms) as Terms;
  const byOrigin = Map.groupBy(taken, ({ claim }) => originOf(claim));
  return [...byOrigin.values()].map((some) => toGroup(some, peer, terms, identity));
}

/** The secrets of the neighbour's attempts that these tasks carry out, in order. */
export async function openSecrets(
  store: Pick<Store, 'sealedSecrets'>,
  identity: Identity,
  keys: readonly { readonly submission_id: number; readonly idx: number }[],
): Promise<string[]> {
  const rows = await store.sealedSecrets({ submissions: keys.map((key) => key.submission_id) });
  const opened = new Map(
    rows.map(({ submission_id: id, sealed }) => [id, JSON.parse(identity.open(sealed)) as Record<string, string>]),
  );
  return keys.map(({ submission_id: id, idx }) => opened.get(id)?.[idx] ?? '');
}

function originOf(claim: Claim): string {
  const { project, home } = claim;
  return JSON.stringify([
    submissionOf(claim),
    project,
    ...(home ? [home.server, home.name, home.project, home.path] : []),
  ]);
}

function indexOf({ task }: Claim): number {
  return Number(task.slice(task.indexOf('.') + 1));
}

function submissionOf({ task }: Claim): string {
  return task.slice(0, task.indexOf('.'));
}

function toGroup(taken: readonly Taken[], peer: PeerRow, terms: Terms, identity: Identity): BorrowedGroup {
  const { claim: first, spec } = taken[0] as Taken;
  const home = homeOf(first, peer);
  const project: ProjectHome = {
    at: first.project,
    server: home.server,
    name: home.name,
    project: home.project,
    path: home.path,
  };
  const local = toLocalSpec(spec, terms);
  const inputs = (local.inputs ?? []).map(({ digest }) => digest);
  return {
    peerId: peer.id,
    project: { name: nameOf(project, peer), home: JSON.stringify(project) },
    owner: `@${peer.name}`,
    shapeKey: shapeKey(toShape(local as Parameters<typeof toShape>[0])),
    spec: JSON.stringify(local),
    hasCheckpoint: spec.checkpoint !== undefined,
    digests: [...new Set([...inputs, ...taken.flatMap(({ claim }) => digestsOf(claim))])],
    sealed: identity.seal(JSON.stringify(Object.fromEntries(taken.map(({ claim }) => [indexOf(claim), claim.secret])))),
    tasks: taken.map(({ claim }) => ({
      idx: indexOf(claim),
      payload: claim.payload === undefined ? null : JSON.stringify(claim.payload),
      inputs: claim.inputs && claim.inputs.length > 0 ? JSON.stringify(claim.inputs) : null,
      task: claim.task,
      attempt: claim.attempt,
      facts: JSON.stringify(factsOf(claim, peer)),
    })),
  };
}

/** `@home/project`, and where it came through another one `@neighbour/@home/project`. */
function nameOf({ server, name, project }: ProjectHome, peer: PeerRow): string {
  return server === peer.id ? `@${peer.name}/${project}` : `@${peer.name}/@${name}/${project}`;
}

/** What is handed on with our own claim as it came. The home of the neighbour's own tasks is that of their project. */
function factsOf(claim: Claim, peer: PeerRow) {
  const { home, from, checkpoints, fault } = claim;
  return {
    ...(home ? { home: homeOf(claim, peer) } : {}),
    ...(from ? { from } : {}),
    ...(checkpoints ? { checkpoints } : {}),
    ...(fault === undefined ? {} : { fault }),
  };
}

function digestsOf({ inputs = [], from = [], checkpoints = [] }: Claim): string[] {
  const files = [...inputs, ...from, ...checkpoints.flatMap((checkpoint) => checkpoint.files)];
  return files.map(({ digest }) => digest);
}

/**
 * The spec as workers here get it: how often it may fail is its home's to decide, which hears of each end; and only
 * workers with the labels that the neighbour is lent run it.
 */
function toLocalSpec({ from: _from, retry: _retry, ...spec }: TaskSpec, { labels }: Terms): TaskSpec {
  return {
    ...spec,
    retry: { limit: 0, lostLimit: 1, endedLimit: 100_000 },
    ...(labels ? { resources: { ...spec.resources, labels: { ...spec.resources?.labels, ...labels } } } : {}),
  };
}
