import { availableParallelism, totalmem } from 'node:os';
import type { Offer } from '../../ground/protocol/exchange.ts';
import type { TaskSpec } from '../../ground/protocol/spec.ts';

/** What the person who starts a worker says about it; the rest is found out. */
export interface ResourceOptions {
  readonly slots?: number;
  readonly memory?: number;
  readonly gpus?: number;
  readonly named?: Readonly<Record<string, number>>;
}

export function detectResources(options: ResourceOptions): Offer {
  return {
    cpus: options.slots ?? availableParallelism(),
    memory: options.memory ?? totalmem(),
    gpus: options.gpus ?? 0,
    named: { ...options.named },
  };
}

/** What a task takes while it runs: one cpu unless it says otherwise. */
export function needsOf(spec: TaskSpec): Offer {
  const { cpus = 1, memory = 0, gpus = 0, named = {} } = spec.resources ?? {};
  return { cpus, memory, gpus, named };
}

/** Keeps count of what is free. GPUs are handed out by number. */
export interface Ledger {
  fits(needs: Offer): boolean;
  /** The numbers of the GPUs. */
  take(needs: Offer): readonly number[];
  give(needs: Offer, gpus: readonly number[]): void;
  free(): Offer;
}

export function createLedger(total: Offer): Ledger {
  let { cpus, memory } = total;
  const named: Record<string, number> = { ...total.named };
  const gpus = Array.from({ length: total.gpus }, (_, index) => index);
  const change = (needs: Offer, sign: 1 | -1): void => {
    cpus += sign * needs.cpus;
    memory += sign * needs.memory;
    for (const [name, count] of Object.entries(needs.named)) named[name] = (named[name] ?? 0) + sign * count;
  };
  return {
    fits: (needs) =>
      needs.cpus <= cpus &&
      needs.memory <= memory &&
      needs.gpus <= gpus.length &&
      Object.entries(needs.named).every(([name, count]) => count <= (named[name] ?? 0)),
    take: (needs) => {
      change(needs, -1);
      return gpus.splice(0, needs.gpus);
    },
    give: (needs, returned) => {
      change(needs, 1);
      gpus.push(...returned);
      gpus.sort((a, b) => a - b);
    },
    free: () => ({ cpus, memory, gpus: gpus.length, named: { ...named } }),
  };
}
