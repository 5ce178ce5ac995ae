import type { BatchId } from '../scheduler.ts';

/** As the claim says it: `pid:start:boot:host`. The id holds all of it, so that it can be judged without its directory. */
export interface ProcessId {
  readonly pid: number;
  readonly start: string;
  readonly boot: string;
  readonly host: string;
}

const CLAIM = /^(\d+):([\w.]+):([\w-]+):([A-Za-z0-9.-]+)$/;

export function parseClaim(text: string): ProcessId | undefined {
  const match = CLAIM.exec(text.trim());
  return match ? { pid: Number(match[1]), start: match[2]!, boot: match[3]!, host: match[4]! } : undefined;
}

export function toBatchId(text: string): BatchId | undefined {
  return parseClaim(text) ? (text.trim() as BatchId) : undefined;
}
