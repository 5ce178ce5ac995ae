import { DEFAULT_HALF_LIFE_MS } from '../../core/fair-share.ts';
import type { WorkerFacts } from '../../core/shape.ts';
import type { Db } from '../db.ts';
import { activeQueues } from './active-queues.ts';
import { openAllowance } from './allowance.ts';
import { type ClaimResult, claimTasks } from './claim-tasks.ts';
import type { ExchangeInput } from './exchange-input.ts';
import type { ClaimedRow } from './take-tasks.ts';
import type { WorkerRow } from './workers.ts';

/** What a worker gets now, of these projects (null: of all), or a neighbour for its workers. */
export function claimForWorker(
  db: Db,
  worker: WorkerRow,
  projects: readonly number[] | null,
  input: ExchangeInput,
): Promise<ClaimResult> {
  if (worker.peer_id !== null) return claimForNeighbour(db, input);
  const facts: WorkerFacts = {
    kinds: JSON.parse(worker.kinds),
    total: JSON.parse(worker.total),
    labels: JSON.parse(worker.labels),
    remainingSeconds: worker.ends_at === null ? null : (worker.ends_at - db.now) / 1000,
  };
  return claimTasks(db, {
    ...claimantOf(input),
    worker: facts,
    free: input.free,
    ahead: input.ahead,
    most: input.most,
    projects,
    reservedQueue: worker.reserved_queue,
  });
}

/** A neighbour's workers are filled one after the other. Without bins it wants nothing now. */
async function claimForNeighbour(db: Db, input: ExchangeInput) {
  const { bins, projects } = input.neighbour ?? { bins: [], projects: [] };
  const claimed: ClaimedRow[] = [];
  if (bins.length === 0) return { claimed, reservedQueue: null };
  const allowance = await openAllowance(db, await activeQueues(db, projects));
  for (const bin of bins) {
    const most = input.most - claimed.length;
    if (most <= 0) break;
    const worker = { kinds: ['command'], total: bin.total, labels: bin.labels, remainingSeconds: bin.remainingSeconds };
    const request = { ...claimantOf(input), worker, free: bin.free, projects, most };
    const neighbours = { ...request, ahead: 0, reservedQueue: null, isNeighbour: true };
    claimed.push(...(await claimTasks(db, neighbours, allowance)).claimed);
  }
  return { claimed, reservedQueue: null };
}

function claimantOf({ session, number: exchangeNumber, sessionSecret, reserveAfterMs, halfLifeMs }: ExchangeInput) {
  return { session, exchangeNumber, sessionSecret, reserveAfterMs, halfLifeMs: halfLifeMs ?? DEFAULT_HALF_LIFE_MS };
}
