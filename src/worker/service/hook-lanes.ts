import type { HookCall, LoadedService } from './hook-messages.ts';
import {
  type CallOptions,
  createHookProcess,
  type HookOutcome,
  type HookProcess,
  type HookProcessOptions,
} from './hook-process.ts';

/** Hooks of living jobs and of past ones do not wait for each other: compressing an archive may take long. */
export type Lane = 'live' | 'past';

export interface HookLanes {
  load(): Promise<LoadedService>;
  call(lane: Lane, call: HookCall, options: CallOptions): Promise<HookOutcome>;
  stop(): void;
}

interface LaneState {
  readonly free: HookProcess[];
  readonly waiting: ((process: HookProcess) => void)[];
}

/** One hook at a time in each lane, unless the service says how many. */
export function createHookLanes(options: HookProcessOptions & { readonly concurrency: number }): HookLanes {
  const make = (count: number): HookProcess[] => Array.from({ length: count }, () => createHookProcess(options));
  const lanes: Record<Lane, LaneState> = {
    live: { free: make(options.concurrency), waiting: [] },
    past: { free: make(1), waiting: [] },
  };
  const all = [...lanes.live.free, ...lanes.past.free];
  const take = ({ free, waiting }: LaneState): Promise<HookProcess> | HookProcess =>
    free.pop() ?? new Promise((resolve) => waiting.push(resolve));
  return {
    load: () => (all[options.concurrency - 1] as HookProcess).load(),
    async call(lane, call, how) {
      const state = lanes[lane];
      const hooks = await take(state);
      try {
        if (how.signal.aborted)
          return { kind: 'failed', message: `the hook '${call.hook}' was not called`, stack: null };
        return await hooks.call(call, how);
      } finally {
        const next = state.waiting.shift();
        if (next) next(hooks);
        else state.free.push(hooks);
      }
    },
    stop: () => {
      for (const hooks of all) hooks.stop();
    },
  };
}
