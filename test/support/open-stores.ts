import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { shapeKey } from '../../src/server/core/shape.ts';
import { openPostgres } from '../../src/server/store/postgres/open-postgres.ts';
import { attemptSecret, sha256 } from '../../src/server/store/secrets.ts';
import { openSqlite } from '../../src/server/store/sqlite/open-sqlite.ts';
import type { Store } from '../../src/server/store/store.ts';
import type { ExchangeResult } from '../../src/server/store/verbs/exchange.ts';
import type { ExchangeInput } from '../../src/server/store/verbs/exchange-input.ts';
import type { StoredReport } from '../../src/server/store/verbs/stored-report.ts';
import type { NewSubmission } from '../../src/server/store/verbs/submissions.ts';
import { missing, POSTGRES } from './debian.ts';
import { startPostgres, type TestPostgres } from './postgres.ts';

export const LEASE = { heartbeatMs: 30_000, leaseMs: 60_000 };
/** A lease that is over as soon as it is given. */
export const NO_LEASE = { heartbeatMs: 0, leaseMs: -1 };

export interface OpenedStore {
  readonly store: Store;
  /** Of the PostgreSQL database, for tests that look at it from beside. */
  readonly url: string | undefined;
  close(): Promise<void>;
}

/** The databases that a suite runs over, PostgreSQL only where it is installed. To be called once in a file, at its top. */
export function openStores(): Array<[string, () => Promise<OpenedStore>]> {
  const noPostgres = missing(POSTGRES);
  let postgres: TestPostgres | undefined;
  beforeAll(async () => {
    if (!noPostgres) postgres = await startPostgres();
  });
  afterAll(() => postgres?.stop());
  const onPostgres = async (): Promise<OpenedStore> => {
    const url = await (postgres as TestPostgres).newDatabase();
    const store = await openPostgres(url, () => undefined);
    return { store, url, close: () => store.close() };
  };
  return [['SQLite', onSqlite], ...(noPostgres ? [] : [['PostgreSQL', onPostgres] as [string, typeof onPostgres]])];
}

async function onSqlite(): Promise<OpenedStore> {
  const directory = mkdtempSync(join(tmpdir(), 'pilotage-store-'));
  const store = await openSqlite(directory);
  return {
    store,
    url: undefined,
    close: async () => {
      await store.close();
      rmSync(directory, { recursive: true });
    },
  };
}

export function step({ cpus = 1, ...over }: Partial<NewSubmission> & { cpus?: number } = {}): NewSubmission {
  return {
    name: null,
    shapeKey: shapeKey({ kind: 'command', cpus, memory: 0, gpus: 0, named: {}, labels: {}, timeRequestSeconds: 0 }),
    spec: '{}',
    priority: 0,
    notBefore: null,
    after: [],
    array: null,
    items: { first: 1, payloads: [null], inputs: [null], digests: [] },
    digests: [],
    question: null,
    hasCheckpoint: false,
    reuse: false,
    from: [],
    ...over,
  };
}

export function arrayStep(count: number, over: Parameters<typeof step>[0] = {}): NewSubmission {
  return step({ array: { first: 1, last: count, step: 1 }, items: null, ...over });
}

const SECRET = 's3cret';
type Key = Pick<StoredReport, 'submission' | 'idx' | 'attempt'>;
type Done = Extract<ExchangeResult, { kind: 'done' }>;
export type ClaimRow = Done['claims'][number];

export const keyOf = (claim: ClaimRow): Key => ({
  submission: claim.submission_id,
  idx: claim.idx,
  attempt: claim.attempt,
});
export const heldOf = (claim: ClaimRow) => ({ ...keyOf(claim), progress: null });

export function reportOf(claim: ClaimRow, outcome: StoredReport['outcome'] = 'succeeded'): StoredReport {
  const { submission, idx, attempt } = keyOf(claim);
  return {
    submission,
    idx,
    attempt,
    secretHash: sha256(attemptSecret(SECRET, submission, idx, attempt)),
    outcome,
    reason: outcome === 'failed' ? 'exit-code' : null,
    message: null,
    exitCode: outcome === 'failed' ? 1 : 0,
    signal: null,
    startedAt: null,
    wallSeconds: null,
    cpuSeconds: null,
    peakMemory: null,
    outputs: null,
    result: null,
    logs: [],
    digests: [],
    checkpoint: null,
  };
}

interface NewWorker {
  readonly lease?: typeof LEASE;
  readonly zone?: string;
  readonly share?: string | null;
  readonly projects?: number[];
  /** It is the session of a neighbour. */
  readonly peer?: string;
  /** The session that it takes the place of, and what it still holds of it. */
  readonly replaces?: { session: string; held: Key[]; secret?: string };
}

/** A pool's clients, straight on the store. */
export function storeClients(store: Store, projectId: number, name = 'client') {
  let requests = 0;
  let sessions = 0;
  const submit = async (...steps: NewSubmission[]): Promise<number[]> => {
    const result = await store.submit({
      projectId,
      owner: 'o',
      requestId: `${name}-${++requests}`,
      open: false,
      steps,
    });
    if (!result.ok) throw new Error('refused');
    return [...result.ids];
  };
  const newWorker = async (cpus: number, over: NewWorker = {}) => {
    const { lease = LEASE, zone, share, projects, peer, replaces } = over;
    const session = `${name}-${++sessions}`;
    const total = { cpus, memory: 0, gpus: 0, named: {} };
    await store.registerWorker({
      session,
      secretHash: sha256(SECRET),
      tokenId: 1,
      name: session,
      host: 'h',
      pid: 1,
      zone: zone ?? null,
      share: share ?? null,
      version: '0',
      kinds: ['command'],
      total: JSON.stringify(total),
      labels: '{}',
      projects: projects ?? null,
      remainingSeconds: null,
      peer: peer ?? null,
      replaces: replaces ? { ...replaces, secretHash: sha256(replaces.secret ?? SECRET) } : null,
      lease,
    });
    let number = 0;
    const exchange = async (over: Partial<ExchangeInput> = {}): Promise<Done> => {
      const result = await store.exchange({
        session,
        sessionSecret: SECRET,
        number: ++number,
        held: [],
        compare: false,
        reports: [],
        logs: [],
        free: total,
        ahead: 0,
        most: 100,
        lease,
        reserveAfterMs: 1e12,
        mayEnter: null,
        ...over,
      });
      if (result.kind !== 'done') throw new Error(result.kind);
      return result;
    };
    return { session, exchange, leave: () => store.leaveWorker({ session, sessionSecret: SECRET }) };
  };
  /** What the keeper does, until there is nothing left to do. */
  const settle = async () => {
    do {
      while ((await store.foldCounts()).touched.length > 0);
      while ((await store.endChunk()).ended > 0);
    } while ((await store.foldCounts()).touched.length > 0);
  };
  const countsOf = async (id: number) => (await store.getSubmissions({ ids: [id] }))[0]?.counts;
  /** Runs everything that can be claimed, and what is released by it. Returns how many tasks. */
  const drain = async (): Promise<number> => {
    const { exchange } = await newWorker(1e6);
    let ran = 0;
    for (let idle = 0; idle < 2; ) {
      await settle();
      await store.releaseDue();
      const { claims } = await exchange({ most: 1000 });
      idle = claims.length === 0 ? idle + 1 : 0;
      ran += claims.length;
      if (claims.length > 0) await exchange({ reports: claims.map((claim) => reportOf(claim)), most: 0 });
    }
    await settle();
    return ran;
  };
  return { submit, newWorker, settle, countsOf, drain };
}
