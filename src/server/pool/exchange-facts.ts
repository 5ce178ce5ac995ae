import type { Capacity } from '../core/shape.ts';
import type { Reason, ReportOutcome } from '../core/task.ts';
import type { Bin } from '../store/verbs/exchange-input.ts';
import type { Answer } from '../store/verbs/report-attempts.ts';
import type { NamedFile } from './trees.ts';

/** An exchange as it comes from the wire; see the protocol for what the fields mean. */
export interface ExchangeFacts {
  readonly number: number;
  readonly held?:
    | readonly {
        readonly task: string;
        readonly attempt: number;
        readonly progress?: object | undefined;
        readonly site?: object | undefined;
      }[]
    | undefined;
  readonly compare?: boolean | undefined;
  readonly reports: readonly ReportFacts[];
  readonly logs?:
    | readonly {
        readonly task: string;
        readonly attempt: number;
        readonly stream: 'stdout' | 'stderr';
        readonly offset: number;
        readonly data: string;
      }[]
    | undefined;
  readonly free: Capacity;
  readonly maxClaims: number;
  readonly ahead?: number | undefined;
  readonly bins?: readonly Bin[] | undefined;
  readonly waitSeconds: number;
  readonly knownSpecs?: readonly number[] | undefined;
}

export interface ReportFacts {
  readonly task: string;
  readonly attempt: number;
  readonly secret: string;
  readonly outcome: ReportOutcome;
  readonly reason?: Reason | undefined;
  readonly message?: string | undefined;
  readonly exitCode?: number | undefined;
  readonly signal?: string | undefined;
  readonly startedAt?: string | undefined;
  readonly wallSeconds?: number | undefined;
  readonly cpuSeconds?: number | undefined;
  readonly peakMemory?: number | undefined;
  readonly outputs?: readonly NamedFile[] | undefined;
  readonly stdout?: LogEnd | undefined;
  readonly stderr?: LogEnd | undefined;
  readonly result?: unknown;
  readonly site?: object | undefined;
  readonly checkpoint?: { readonly attempt: number; readonly number: number } | undefined;
}

export interface LogEnd {
  readonly size: number;
  readonly data?: string | undefined;
  readonly digest?: string | undefined;
}

export interface ExchangeAnswer {
  readonly answers: readonly { task: string; attempt: number; answer: Answer }[];
  readonly claims: readonly {
    task: string;
    attempt: number;
    secret: string;
    project: string;
    payload?: unknown;
    inputs?: unknown;
    from?: unknown;
    fault?: string;
    checkpoints?: unknown;
    home?: unknown;
  }[];
  readonly specs: Readonly<Record<string, unknown>>;
  readonly drop: readonly { task: string; attempt: number }[];
  readonly instruction: 'work' | 'drain' | 'stop';
  readonly listHeld?: boolean;
  readonly followSeconds: number;
  readonly heartbeatSeconds: number;
  readonly leaseSeconds: number;
}
