import type { Shape } from '../core/shape.ts';
import type { PeerRow } from '../store/verbs/peers.ts';
import type { Parts } from './parts.ts';
import type { Reason } from './why-reason.ts';

/** What one lends the other, as two servers tell each other; what is left out is not narrowed. */
interface Terms {
  readonly share?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly hours?: readonly string[];
  readonly projects?: readonly string[];
  readonly send?: readonly string[];
}

interface Sorted {
  readonly trusted: readonly PeerRow[];
  /** They may have tasks of the project, as we say. */
  readonly mayHave: readonly PeerRow[];
  readonly unreachable: readonly PeerRow[];
  /** They would have them, but told that they lend nothing to these. */
  readonly lendNothing: readonly PeerRow[];
  readonly able: readonly PeerRow[];
}

async function sortNeighbours(parts: Parts, project: string): Promise<Sorted> {
  const trusted = (await parts.store.listPeers()).filter(({ state }) => state === 'trusted');
  const linked = parts.neighbours.linked();
  const mayHave = trusted.filter(({ terms }) => {
    const { send } = JSON.parse(terms) as Terms;
    return !send || send.includes(project);
  });
  const unreachable = mayHave.filter(({ id }) => linked && !linked.has(id));
  const there = mayHave.filter((row) => !unreachable.includes(row));
  const lendNothing = there.filter((row) => {
    const { share, projects } = termsOf(row);
    return share === 0 || (projects !== undefined && !projects.includes(project));
  });
  return { trusted, mayHave, unreachable, lendNothing, able: there.filter((row) => !lendNothing.includes(row)) };
}

/** What it told; nothing is narrowed until it did. */
function termsOf({ their_terms: terms }: PeerRow): Terms {
  return JSON.parse(terms ?? '{}') as Terms;
}

/** The names of those that would take a command of the project, as far as they told. */
export async function neighboursFor(parts: Parts, project: string): Promise<string[]> {
  const { able } = await sortNeighbours(parts, project);
  return able.map(({ name }) => name);
}

/** Neighbours take what their workers have room for, once nothing of their own is left. */
export async function whyNoNeighbour(parts: Parts, shape: Shape, project: string): Promise<Reason[]> {
  if (shape.kind !== 'command') return [];
  const { trusted, mayHave, unreachable, lendNothing, able } = await sortNeighbours(parts, project);
  if (trusted.length === 0) return [];
  const numbers = { neighbours: trusted.length, mayHave: mayHave.length };
  if (mayHave.length === 0)
    return [
      {
        code: 'not-sent',
        text: `tasks of project '${project}' may go to none of ${trusted.length} neighbours: 'pilotage peer lend' says which may`,
        numbers,
      },
    ];
  const reasons: Reason[] = [];
  if (able.length > 0)
    reasons.push({
      code: 'neighbours',
      text: `${able.map(withLimits).join(', ')} would take it once a worker there is free that has what it asks for, and nothing of their own waits`,
      numbers: { ...numbers, able: able.length },
    });
  if (unreachable.length > 0)
    reasons.push({
      code: 'neighbours-unreachable',
      text: `${namesOf(unreachable)} cannot be reached now: 'pilotage peer list' says why`,
      numbers: { ...numbers, unreachable: unreachable.length },
    });
  if (lendNothing.length > 0)
    reasons.push({
      code: 'neighbours-lend-nothing',
      text: `${namesOf(lendNothing)} ${lendNothing.length === 1 ? 'lends' : 'lend'} nothing to tasks of project '${project}': an administrator there says 'pilotage peer lend'`,
      numbers: { ...numbers, lendNothing: lendNothing.length },
    });
  return reasons;
}

function namesOf(rows: readonly PeerRow[]): string {
  return rows.map(({ name }) => name).join(', ');
}

/** Hours are by the clock there, and its workers are not known here. */
function withLimits(row: PeerRow): string {
  const { hours, labels } = termsOf(row);
  const limits = [
    ...(hours ? [`at ${hours.join(' and ')} by its clock`] : []),
    ...(labels ? [`on workers with ${labelsOf(labels)}`] : []),
  ];
  return limits.length === 0 ? row.name : `${row.name} (only ${limits.join(', ')})`;
}

function labelsOf(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(' and ');
}
