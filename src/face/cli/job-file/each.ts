import { tooMany } from '../../../ground/protocol/array-range.ts';
import { MAX_TASKS } from '../../../ground/protocol/limits.ts';
import type { TaskList } from '../submission/job-step.ts';
import { failAt, type Located } from './located.ts';
import { asInteger, asMap, asNumber, readKeys, toPlain, unexpected } from './values.ts';

interface Axis {
  readonly name: string;
  readonly values: readonly unknown[];
}

/** Every value of each name with every value of the others; the last name varies fastest. */
export function readEach(node: Located): TaskList {
  const axes = asMap(node, 'names with lists of values').map(({ key, keyAt, value }) => toAxis(key, keyAt, value));
  if (axes.length === 0) throw failAt(node.at, 'it names nothing to go through');
  const count = axes.reduce((product, axis) => product * axis.values.length, 1);
  if (count > MAX_TASKS) throw failAt(node.at, tooMany(count, 'this').message, 'array-too-large');
  return { kind: 'items', at: `${node.at}: `, count, payloads: () => crossProduct(axes, count) };
}

function* crossProduct(axes: readonly Axis[], count: number): Iterable<Record<string, unknown>> {
  for (let task = 0; task < count; task++) {
    const picked: [string, unknown][] = [];
    let rest = task;
    for (const { name, values } of axes.toReversed()) {
      picked.unshift([name, values[rest % values.length]]);
      rest = Math.floor(rest / values.length);
    }
    yield Object.fromEntries(picked);
  }
}

function toAxis(name: string, keyAt: string, node: Located): Axis {
  if (!/^[A-Za-z_][\w.-]*$/.test(name)) {
    throw failAt(keyAt, `'${name}' cannot be a placeholder: use letters, digits and _, beginning with a letter`);
  }
  if (name === 'index') throw failAt(keyAt, "'index' is the number of the task already: choose another name");
  const values = node.kind === 'map' ? toRange(node) : toValues(node);
  if (values.length === 0) throw failAt(node.at, `'${name}' has no values: there would be no task`);
  return { name, values };
}

function toValues(node: Located): unknown[] {
  if (node.kind === 'list') return node.items.map(toPlain);
  if (node.kind === 'scalar' && node.value !== null) return [toPlain(node)];
  throw unexpected(node, 'a list of values, or { from, to, count }');
}

interface Range {
  from: number;
  to: number;
  count: number;
  step: number;
}

/** `{ from, to, count }` divides evenly, both ends included; `{ from, to, step }` counts up while it fits. */
function toRange(node: Located): number[] {
  const range = readKeys<Range>(
    node,
    {
      from: (value) => ({ from: asNumber(value) }),
      to: (value) => ({ to: asNumber(value) }),
      count: (value) => ({ count: asInteger(value, 1) }),
      step: (value) => ({ step: asNumber(value) }),
    },
    'from, to and count',
  );
  const { from, to, count, step } = range;
  if (from === undefined || to === undefined) throw failAt(node.at, "a range has 'from' and 'to'");
  if ((count === undefined) === (step === undefined)) throw failAt(node.at, "a range has either 'count' or 'step'");
  const length = count ?? stepsBetween(node, { from, to, step: step ?? 0 });
  if (length > MAX_TASKS) throw failAt(node.at, tooMany(length, 'this range').message, 'array-too-large');
  const width = count === undefined ? (step ?? 0) : (to - from) / Math.max(1, length - 1);
  return Array.from({ length }, (_, at) =>
    count !== undefined && at === length - 1 && at > 0 ? to : tidy(from + at * width),
  );
}

function stepsBetween(node: Located, { from, to, step }: Omit<Range, 'count'>): number {
  const steps = (to - from) / step;
  if (!Number.isFinite(steps) || steps < 0) throw failAt(node.at, `no step of ${step} leads from ${from} to ${to}`);
  // A step like 0.1 is not exact: the end counts as reached when it is missed by a hair.
  return Math.floor(steps + 1e-9) + 1;
}

/** 0.1 + 0.2 is 0.3 for a person: what is behind the twelfth digit is the machine's own. */
function tidy(value: number): number {
  return Number(value.toPrecision(12));
}
