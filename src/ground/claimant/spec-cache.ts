import type { TaskSpec } from '../protocol/spec.ts';

/** Specs by submission, so that the server sends each once. */
export interface SpecCache {
  add(submission: number, spec: TaskSpec): void;
  find(submission: number): TaskSpec | undefined;
  /** The ones used last, which the server need not send. */
  known(): number[];
  clear(): void;
}

const KEPT = 1000;
const NAMED = 64;

export function createSpecCache(): SpecCache {
  const specs = new Map<number, TaskSpec>();
  const touch = (submission: number, spec: TaskSpec): void => {
    specs.delete(submission);
    specs.set(submission, spec);
    const oldest = specs.keys().next().value;
    if (specs.size > KEPT && oldest !== undefined) specs.delete(oldest);
  };
  return {
    add: touch,
    find: (submission) => {
      const spec = specs.get(submission);
      if (spec) touch(submission, spec);
      return spec;
    },
    known: () => [...specs.keys()].slice(-NAMED),
    clear: () => specs.clear(),
  };
}
