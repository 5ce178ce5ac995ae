/** Which of what is free fits what a neighbour has too much of. Pure. */
import type { Bin } from '../../../ground/protocol/exchange.ts';
import type { Demand, Terms } from '../../../ground/protocol/peer.ts';
import { countFitting, fits, parseShapeKey, type Shape, subtract, type WorkerFacts } from '../../core/shape.ts';

/** Something free: of a worker of our own (`peer` null), or of a neighbour that asks. */
export interface Offered {
  readonly peer: string | null;
  readonly bin: Bin;
}

/** Do workers lend their time to a neighbour now? `now`: minutes since midnight. */
export function isLent({ share, hours }: Terms, now: number): boolean {
  if (share === 0) return false;
  return !hours || hours.some((span) => isWithin(span, now));
}

function isWithin(span: string, now: number): boolean {
  const [from = 0, to = 0] = span.split('-').map(toMinutes);
  return from < to ? from <= now && now < to : now >= from || now < to;
}

function toMinutes(time: string): number {
  const [hours = 0, minutes = 0] = time.split(':').map(Number);
  return hours * 60 + minutes;
}

/** The part of what is offered that a neighbour may be asked to fill. */
export function offersFor(
  peer: string,
  offered: readonly Offered[],
  { demand, terms }: { readonly demand: readonly Demand[]; readonly terms: Terms },
): Offered[] {
  return offered.filter(({ peer: from, bin }) => {
    if (from === peer) return false;
    // What comes is run by workers with these labels only, wherever it is passed on to.
    if (!hasLabels(bin, terms)) return false;
    return demand.some(
      (one) =>
        (from === null || !one.path.includes(from)) && maySend(one, terms) && canTake(bin, parseShapeKey(one.shape)),
    );
  });
}

function hasLabels({ labels }: Bin, terms: Terms): boolean {
  return Object.entries(terms.labels ?? {}).every(([name, value]) => labels[name] === value);
}

function maySend({ project, path }: Demand, terms: Terms): boolean {
  return isServed(project, path.length > 1, terms);
}

/** Projects are named as they are at the neighbour; what it passes on is not its own. */
export function isServed(project: string, isPassedOn: boolean, { projects }: Terms): boolean {
  return !projects || (!isPassedOn && projects.includes(project));
}

export function canTake(bin: Bin, shape: Shape): boolean {
  return shape.kind === 'command' && fits(shape, factsOf(bin)) && countFitting(shape, bin.free, 1) > 0;
}

function factsOf({ total, labels, remainingSeconds }: Bin): WorkerFacts {
  return { kinds: ['command'], total, labels, remainingSeconds };
}

/** Takes what is on its way already off what is free, one task after the other, where it fits first. */
export function without(offered: readonly Offered[], shapes: readonly Shape[]): Offered[] {
  const left = offered.map((one) => ({ ...one }));
  for (const shape of shapes) {
    const at = left.findIndex(({ bin }) => canTake(bin, shape));
    const found = left[at];
    if (found) left[at] = { ...found, bin: { ...found.bin, free: subtract(found.bin.free, shape, 1) } };
  }
  return left.filter(({ bin }) => bin.free.cpus > 0);
}

/** No more than so many cpus of our own. */
export function limited(offered: readonly Offered[], cpus: number): Offered[] {
  let left = cpus;
  return offered.flatMap((one) => {
    if (one.peer !== null) return [one];
    const take = Math.min(left, one.bin.free.cpus);
    left -= take;
    return take > 0 ? [{ ...one, bin: { ...one.bin, free: { ...one.bin.free, cpus: take } } }] : [];
  });
}

/** So many cpus' worth of tasks more than are free, because they end faster than others come. */
export function ahead(offered: readonly Offered[], cpus: number, demand: readonly Demand[]): Offered[] {
  const shapes = demand.map(({ shape }) => parseShapeKey(shape));
  const at = offered.findIndex(({ peer, bin }) => peer === null && shapes.some((shape) => fits(shape, factsOf(bin))));
  const found = offered[at];
  if (!found || cpus <= 0) return [...offered];
  const { bin } = found;
  const times = cpus / Math.max(1, bin.total.cpus);
  const free = {
    cpus: bin.free.cpus + cpus,
    memory: bin.free.memory + Math.round(bin.total.memory * times),
    gpus: bin.free.gpus,
    named: bin.free.named,
  };
  return offered.map((one) => (one === found ? { ...found, bin: { ...bin, free } } : one));
}
