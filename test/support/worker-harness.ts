import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createClient } from '../../src/ground/client/client.ts';
import { httpTransport } from '../../src/ground/client/http-transport.ts';
import type { Report } from '../../src/ground/protocol/exchange.ts';
import { startWorker, type Worker, type WorkerOptions } from '../../src/worker/worker/worker.ts';
import { memoryLog } from './memory-log.ts';
import { startTinyPool, type TinyPool } from './tiny-pool.ts';
import { waitUntil } from './wait-until.ts';

/** A pool and a worker that runs real programs for it. */
export interface Bench {
  readonly pool: TinyPool;
  readonly directory: string;
  readonly log: ReturnType<typeof memoryLog>;
  start(options?: Partial<WorkerOptions>): Promise<Worker>;
  /** Waits for the report of a task. */
  reportOf(task: string | undefined, seconds?: number): Promise<Report>;
  close(): Promise<void>;
}

export async function startBench(): Promise<Bench> {
  const pool = await startTinyPool();
  const directory = mkdtempSync(path.join(tmpdir(), 'pilotage-test-'));
  const log = memoryLog();
  const workers: Worker[] = [];
  return {
    pool,
    directory,
    log,
    start: async (options = {}) => {
      const server = { url: pool.url };
      const worker = await startWorker({
        client: createClient(httpTransport(server), () => 'token'),
        server,
        log,
        version: 'test',
        workDirectory: path.join(directory, 'work'),
        environment: process.env,
        slots: 2,
        killAfterSeconds: 1,
        ...options,
      });
      workers.push(worker);
      return worker;
    },
    reportOf: (task, seconds) =>
      waitUntil(`the report of ${task}`, () => pool.reports.find((report) => report.task === task), seconds),
    close: async () => {
      for (const worker of workers) worker.stop();
      await Promise.all(workers.map((worker) => worker.done));
      await pool.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

export function textOf(log: { data?: string } | undefined): string {
  return Buffer.from(log?.data ?? '', 'base64').toString();
}
