/** What a task asks for. Tasks that ask for the same are claimed from one queue. Memory in bytes, time in seconds. */
export interface Shape {
  readonly kind: 'command' | 'payload' | 'site';
  readonly cpus: number;
  readonly memory: number;
  readonly gpus: number;
  readonly named: Readonly<Record<string, number>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly timeRequestSeconds: number;
}

/** What a worker has, in all or still free. */
export interface Capacity {
  readonly cpus: number;
  readonly memory: number;
  readonly gpus: number;
  readonly named: Readonly<Record<string, number>>;
}

/** A worker as far as matching is concerned. `remainingSeconds` is what is left of its wall time. */
export interface WorkerFacts {
  readonly kinds: readonly string[];
  readonly total: Capacity;
  readonly labels: Readonly<Record<string, string>>;
  readonly remainingSeconds: number | null;
}

/** One text for equal shapes, whatever the order of their keys. */
export function shapeKey(shape: Shape): string {
  const { kind, cpus, memory, gpus, timeRequestSeconds } = shape;
  return JSON.stringify([kind, cpus, memory, gpus, timeRequestSeconds, sorted(shape.named), sorted(shape.labels)]);
}

export function parseShapeKey(key: string): Shape {
  const [kind, cpus, memory, gpus, timeRequestSeconds, named, labels] = JSON.parse(key);
  return {
    kind,
    cpus,
    memory,
    gpus,
    timeRequestSeconds,
    named: Object.fromEntries(named),
    labels: Object.fromEntries(labels),
  };
}

/** Of a text that others made: is it one that `shapeKey` makes? */
export function isShapeKey(text: string): boolean {
  try {
    const shape = parseShapeKey(text);
    const { cpus, memory, gpus, timeRequestSeconds, named, labels } = shape;
    const numbers = [cpus, memory, gpus, timeRequestSeconds, ...Object.values(named)];
    const isSound = numbers.every((n) => Number.isFinite(n) && n >= 0);
    return isSound && Object.values(labels).every((value) => typeof value === 'string') && shapeKey(shape) === text;
  } catch {
    return false;
  }
}

function sorted<T>(record: Readonly<Record<string, T>>): Array<[string, T]> {
  return Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
}

/** What stands between a shape and a worker, empty when it could run there once the worker is free. */
export type Obstacle = 'kind' | 'cpus' | 'memory' | 'gpus' | 'label' | 'wall-time' | `named:${string}`;

export function obstacles(shape: Shape, worker: WorkerFacts): Obstacle[] {
  const found: Obstacle[] = [];
  if (!worker.kinds.includes(shape.kind)) found.push('kind');
  if (shape.cpus > worker.total.cpus) found.push('cpus');
  if (shape.memory > worker.total.memory) found.push('memory');
  if (shape.gpus > worker.total.gpus) found.push('gpus');
  for (const [name, count] of Object.entries(shape.named))
    if (count > (worker.total.named[name] ?? 0)) found.push(`named:${name}`);
  if (Object.entries(shape.labels).some(([name, value]) => worker.labels[name] !== value)) found.push('label');
  if (worker.remainingSeconds !== null && shape.timeRequestSeconds > worker.remainingSeconds) found.push('wall-time');
  return found;
}

export function fits(shape: Shape, worker: WorkerFacts): boolean {
  return obstacles(shape, worker).length === 0;
}

/** How many tasks of a shape fit into what is free, at most `most`. */
export function countFitting(shape: Shape, free: Capacity, most: number): number {
  let count = most;
  const limit = (asked: number, there: number) => {
    if (asked > 0) count = Math.min(count, Math.floor(there / asked));
  };
  limit(shape.cpus, free.cpus);
  limit(shape.memory, free.memory);
  limit(shape.gpus, free.gpus);
  for (const [name, asked] of Object.entries(shape.named)) limit(asked, free.named[name] ?? 0);
  return Math.max(0, count);
}

/** What is left of a capacity when `count` tasks of a shape are taken from it. */
export function subtract(from: Capacity, shape: Shape, count: number): Capacity {
  const named = { ...from.named };
  for (const [name, asked] of Object.entries(shape.named)) named[name] = (named[name] ?? 0) - asked * count;
  return {
    cpus: from.cpus - shape.cpus * count,
    memory: from.memory - shape.memory * count,
    gpus: from.gpus - shape.gpus * count,
    named,
  };
}

/** The smaller of two capacities, resource by resource. */
export function smaller(a: Capacity, b: Capacity): Capacity {
  const names = new Set([...Object.keys(a.named), ...Object.keys(b.named)]);
  const named = Object.fromEntries([...names].map((name) => [name, Math.min(a.named[name] ?? 0, b.named[name] ?? 0)]));
  return {
    cpus: Math.min(a.cpus, b.cpus),
    memory: Math.min(a.memory, b.memory),
    gpus: Math.min(a.gpus, b.gpus),
    named,
  };
}
