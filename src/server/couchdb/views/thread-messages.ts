/** What the server and the thread of the views say to each other. */
import type { ViewLimits } from './limits.ts';
import type { Changes, DesignText, FindRequest, ViewQuery } from './views.ts';

export interface ThreadData {
  readonly directory: string;
  readonly limits: ViewLimits;
  /** [0]: the number of the call into the sandbox that runs, or 0. */
  readonly shared: SharedArrayBuffer;
  /** Functions that hung an earlier thread. */
  readonly condemned: readonly Running[];
}

/** Whose functions run. */
export interface Running {
  readonly database: string;
  readonly design: string;
  readonly signature: string;
}

export type Question =
  | {
      readonly kind: 'query';
      readonly database: string;
      readonly design: DesignText;
      readonly view: string;
      readonly query: ViewQuery;
    }
  | { readonly kind: 'find'; readonly database: string; readonly request: FindRequest }
  | { readonly kind: 'forget'; readonly database: string };

export interface Failed {
  readonly code: string;
  readonly message: string;
  readonly details: Record<string, unknown>;
  readonly trace: string;
}

export type Outcome<T> = { readonly value: T } | { readonly failed: Failed };

export type ToThread =
  | { readonly type: 'question'; readonly id: number; readonly question: Question }
  | { readonly type: 'changes'; readonly id: number; readonly outcome: Outcome<Changes> }
  | { readonly type: 'close' };

export type FromThread =
  | { readonly type: 'ready' }
  | { readonly type: 'closed' }
  | { readonly type: 'running'; readonly running: Running }
  | { readonly type: 'answer'; readonly id: number; readonly outcome: Outcome<unknown> }
  | { readonly type: 'ask'; readonly id: number; readonly database: string; readonly after: string }
  | {
      readonly type: 'log';
      readonly level: 'debug' | 'info' | 'warn' | 'error';
      readonly facts: object;
      readonly message: string;
    };
