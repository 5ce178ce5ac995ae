/** What a service's host and the process of its hooks say to each other. All of it is JSON. */
import type { HostJob } from '../../ground/protocol/service.ts';
import type { RunResults, ServiceFacts } from './define-service.ts';

export type HookName = 'preprocess' | 'run' | 'rerun' | 'postprocess' | 'finalize' | 'complete' | 'archive' | 'expire';

export type HookJob = Pick<
  HostJob,
  'number' | 'uid' | 'name' | 'owner' | 'contact' | 'parameters' | 'metadata' | 'run' | 'directory' | 'url'
>;

export interface HookCall {
  readonly hook: HookName;
  readonly job: HookJob;
  readonly service: ServiceFacts;
  readonly data?: unknown;
  readonly results?: RunResults;
}

export type ToHooks =
  | { readonly kind: 'load'; readonly module: string; readonly home: string }
  | ({ readonly kind: 'call' } & HookCall);

/** A module as its host has to know it. `parameters` is a JSON schema. */
export interface LoadedService {
  readonly name: string;
  readonly title: string | null;
  readonly parameters: Record<string, unknown>;
  readonly hooks: readonly HookName[];
  /** Patterns of what people may fetch; null is all. */
  readonly results: readonly string[] | null;
}

export type FromHooks =
  | { readonly kind: 'loaded'; readonly service: LoadedService }
  | { readonly kind: 'progress'; readonly fraction: number | null; readonly message?: string }
  | {
      readonly kind: 'done';
      readonly value?: unknown;
      readonly metadata: Record<string, unknown>;
      readonly skip: boolean;
      readonly rescheduled?: { readonly data: unknown };
    }
  | {
      readonly kind: 'failed';
      readonly message: string;
      readonly stack: string | null;
      readonly metadata?: Record<string, unknown>;
    };
