import type { JobStep } from '../submission/job-step.ts';
import { failAt } from './located.ts';

/** Puts each step behind those that it comes after, and otherwise leaves them as they are. Throws for a cycle, by name. */
export function orderSteps(steps: readonly JobStep[], places: readonly string[]): JobStep[] {
  const byName = new Map(steps.flatMap((step, at) => (step.name === undefined ? [] : [[step.name, at] as const])));
  const ordered: JobStep[] = [];
  const done = new Set<number>();

  const visit = (at: number, path: readonly number[]): void => {
    if (done.has(at)) return;
    if (path.includes(at)) throw cycle(steps, [...path.slice(path.indexOf(at)), at], places[at] ?? '');
    const step = steps[at];
    const sources = (step?.from ?? []).flatMap((from) => (from.step === undefined ? [] : [{ step: from.step }]));
    for (const dependency of [...(step?.after ?? []), ...sources]) {
      const before = 'step' in dependency ? byName.get(dependency.step) : undefined;
      if (before !== undefined) visit(before, [...path, at]);
    }
    done.add(at);
    if (step) ordered.push(step);
  };

  for (const at of steps.keys()) visit(at, []);
  return ordered;
}

function cycle(steps: readonly JobStep[], path: readonly number[], place: string): Error {
  const names = path.map((at) => `'${steps[at]?.name}'`).toReversed();
  return failAt(place, `these steps wait for each other: ${names.join(' -> ')}`, 'dependency-cycle');
}
