import type { LeaseSettings } from '../../core/lease.ts';
import type { Capacity } from '../../core/shape.ts';
import type { LogGrowth } from './running-logs.ts';
import type { StoredReport } from './stored-report.ts';

export interface HeldKey {
  readonly submission: number;
  readonly idx: number;
  readonly attempt: number;
  readonly progress: string | null;
  /** JSON: where it is, if it lives at a site. */
  readonly site?: string | null;
}

export interface ExchangeInput {
  readonly session: string;
  readonly number: number;
  /** Null: not told. */
  readonly held: readonly HeldKey[] | null;
  /** To be compared, whenever that was done last. */
  readonly compare: boolean;
  readonly reports: readonly StoredReport[];
  readonly logs: readonly LogGrowth[];
  readonly free: Capacity;
  readonly ahead: number;
  readonly most: number;
  readonly sessionSecret: string;
  readonly lease: LeaseSettings;
  readonly reserveAfterMs: number;
  /** So fast what owners have used fades; a day unless given. */
  readonly halfLifeMs?: number;
  /** The projects that whoever asks may enter now; null: all. A worker has no more than these, whatever it registered with. */
  readonly mayEnter: readonly string[] | null;
  /** Of a neighbour: what its workers have free, and the projects whose tasks it may have. */
  readonly neighbour?: Neighbour | undefined;
}

export interface Neighbour {
  readonly bins: readonly Bin[];
  readonly projects: readonly number[];
}

/** One of a neighbour's workers, or several alike. */
export interface Bin {
  readonly total: Capacity;
  readonly free: Capacity;
  readonly labels: Readonly<Record<string, string>>;
  readonly remainingSeconds: number | null;
}
