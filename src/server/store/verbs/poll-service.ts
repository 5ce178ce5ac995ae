import { type Db, firstRow } from '../db.ts';
import { sql } from '../sql.ts';
import { activeJobs, type ServiceJobRow } from './service-jobs.ts';
import { type HostKey, renewHost } from './services.ts';
import { wishDue } from './wish-service-jobs.ts';

export interface PollResult {
  readonly serviceId: number;
  readonly jobs: readonly ServiceJobRow[];
  readonly nudged: number;
  /** When the time of the next job comes. */
  readonly nextDue: number | null;
  readonly now: number;
}

/** Jobs whose time comes in one poll. */
const MOST_DUE = 200;

/**
 * What its host has to know: jobs that others touched after `after`, and those whose time has come. Null when another
 * host took the service over.
 */
export async function pollService(
  db: Db,
  input: HostKey & { readonly leaseMs: number; readonly after: number; readonly most: number },
): Promise<PollResult | null> {
  const service = await renewHost(db, input);
  if (!service) return null;
  await wishDue(db, { serviceId: service.id, most: MOST_DUE });
  const jobs = await activeJobs(db, { serviceId: service.id, after: input.after, most: input.most });
  const next = await firstRow<{ due_at: number }>(
    db,
    sql`select due_at from service_jobs where service_id = ${service.id} and due_at is not null order by due_at limit 1`,
  );
  return { nextDue: next?.due_at ?? null, serviceId: service.id, jobs, nudged: service.nudged, now: db.now };
}
