import { ServerUnreachable } from './transport.ts';

/** Ends a transfer that stands still. */
export interface StallWatch {
  /** Fires when nothing moved for too long, and when the caller's own signal does. */
  readonly signal: AbortSignal;
  moved(): void;
  /** From now on it may stand still for so long. */
  allow(seconds: number): void;
  /** The reason why a call with this signal failed. */
  explain(error: unknown): unknown;
  end(): void;
}

export function stallWatch(seconds: number, outer: AbortSignal | undefined): StallWatch {
  const stalled = new AbortController();
  let allowed = seconds;
  const arm = () => setTimeout(() => stalled.abort(new Error(`no byte moved for ${allowed} s`)), allowed * 1000);
  let timer = arm();
  return {
    signal: outer ? AbortSignal.any([outer, stalled.signal]) : stalled.signal,
    moved: () => void timer.refresh(),
    allow: (more) => {
      clearTimeout(timer);
      allowed = Math.round(more);
      timer = arm();
    },
    explain: (error) => (stalled.signal.aborted ? new ServerUnreachable('the server', stalled.signal.reason) : error),
    end: () => clearTimeout(timer),
  };
}
