/** How many pilots the backlog is worth, and when a site is left alone. */
import { type Capacity, countFitting, fits, type Shape, smaller, subtract, type WorkerFacts } from './shape.ts';

/** Queued tasks that ask for the same. */
export interface Backlog {
  readonly projectId: number;
  readonly shape: Shape;
  readonly queued: number;
}

/** A worker that is there or on its way. `projects` null is all. */
export interface Present {
  readonly id: string;
  readonly facts: WorkerFacts;
  readonly free: Capacity;
  readonly projects: readonly number[] | null;
}

/** What a new pilot of a site would be, and how many more there may be. */
export interface PilotKind {
  readonly site: string;
  readonly facts: WorkerFacts;
  readonly projects: readonly number[] | null;
  readonly most: number;
}

export interface Fitted {
  /** New pilots, by site. */
  readonly more: ReadonlyMap<string, number>;
  /** Of those present, whom there is something for. */
  readonly used: ReadonlySet<string>;
}

interface Bin {
  readonly id: string;
  readonly facts: WorkerFacts;
  readonly projects: readonly number[] | null;
  free: Capacity;
}

/** Fills who is there first, in the order given, then opens new pilots, site after site, the widest tasks first. */
export function fitToBacklog(
  backlog: readonly Backlog[],
  present: readonly Present[],
  kinds: readonly PilotKind[],
): Fitted {
  // What has no room for the narrowest task is not asked again for each of a thousand shapes.
  const narrowest = backlog.reduce((least, { shape }) => Math.min(least, shape.cpus), Number.POSITIVE_INFINITY);
  const hasRoom = (bin: Bin): boolean => bin.free.cpus >= narrowest;
  let bins: Bin[] = present.map(({ id, facts, free, projects }) => ({ id, facts, free, projects })).filter(hasRoom);
  const left = new Map(kinds.map(({ site, most }) => [site, most]));
  const more = new Map<string, number>();
  const used = new Set<string>();
  for (const { shape, projectId, queued } of [...backlog].sort(byWidth)) {
    let waiting = queued;
    for (const bin of bins) {
      if (waiting === 0) break;
      const count = isFor(bin, shape, projectId) ? countFitting(shape, bin.free, waiting) : 0;
      if (count === 0) continue;
      bin.free = subtract(bin.free, shape, count);
      waiting -= count;
      used.add(bin.id);
    }
    for (const kind of kinds.filter((one) => isFor(one, shape, projectId))) {
      const each = countFitting(shape, kind.facts.total, waiting);
      while (waiting > 0 && each > 0 && (left.get(kind.site) ?? 0) > 0) {
        const count = Math.min(each, waiting);
        left.set(kind.site, (left.get(kind.site) ?? 0) - 1);
        more.set(kind.site, (more.get(kind.site) ?? 0) + 1);
        bins.push({ ...kind, id: `${kind.site} more`, free: subtract(kind.facts.total, shape, count) });
        waiting -= count;
      }
    }
    bins = bins.filter(hasRoom);
  }
  return { more, used };
}

function isFor({ facts, projects }: Pick<Bin, 'facts' | 'projects'>, shape: Shape, projectId: number): boolean {
  return (projects === null || projects.includes(projectId)) && fits(shape, facts);
}

function byWidth(a: Backlog, b: Backlog): number {
  return b.shape.gpus - a.shape.gpus || b.shape.cpus - a.shape.cpus || b.shape.memory - a.shape.memory;
}

/** What of a worker is free when it runs these. */
export function freeOf(total: Capacity, running: readonly { readonly shape: Shape; readonly n: number }[]): Capacity {
  const nothing = { cpus: 0, memory: 0, gpus: 0, named: {} };
  const left = running.reduce((free, { shape, n }) => subtract(free, shape, n), total);
  return left.cpus < 0 ? smaller(left, nothing) : left;
}

const TOLERATED = 1;
const FIRST_PAUSE_MS = 60_000;
const LONGEST_PAUSE_MS = 30 * 60_000;

/** After so many pilots in a row that came to nothing: 0, then 1 min, 2, 4, … up to 30. */
export function coolDownMs(failures: number): number {
  if (failures <= TOLERATED) return 0;
  return Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - TOLERATED - 1));
}

/** The batch system kills at the end of the wall time: before that a pilot has to have left. */
export function workerSecondsOf(wallTimeSeconds: number): number {
  return wallTimeSeconds - Math.min(60, Math.max(5, wallTimeSeconds * 0.05));
}

/** What a task may ask for and still find a pilot that has just come: a worker ends its programs in time, and has to start. */
export function usefulSecondsOf(wallTimeSeconds: number): number {
  const worker = workerSecondsOf(wallTimeSeconds);
  return worker - Math.min(30, worker / 4) - Math.min(30, worker * 0.05);
}

/** Nodes on which pilots came to nothing: how often in all, and when last. */
export type NodeFailures = Readonly<Record<string, { readonly failures: number; readonly at: number }>>;

const NODE_TOLERATED = 1;
const NODE_REST_MS = 3_600_000;

/** Nodes where no pilot is to go now. */
export function restingNodes(nodes: NodeFailures, now: number): string[] {
  return Object.entries(nodes)
    .filter(([, { failures, at }]) => failures > NODE_TOLERATED && at > now - NODE_REST_MS)
    .map(([node]) => node);
}

/** One that never got to a node (refused, say, because of the nodes that were left out) takes back what was held against nodes. */
export function withNodeFailure(nodes: NodeFailures, node: string | undefined, at: number): NodeFailures {
  return node === undefined ? {} : { ...nodes, [node]: { failures: (nodes[node]?.failures ?? 0) + 1, at } };
}

/** What works again after failures on several nodes was no fault of the nodes. */
export function nodesAfterSuccess(nodes: NodeFailures): NodeFailures {
  return Object.keys(nodes).length > 1 ? {} : nodes;
}
