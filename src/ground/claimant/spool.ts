/**
 * Reports of ended attempts that the server has not acknowledged yet, on disk, so that they outlive their worker.
 *
 * A report is sent and spooled side by side, not one after the other: the answer usually arrives before the disk has,
 * and a report that is answered before it was written is never written. How soon the claimant spools at all it decides
 * by what a loss would cost (see `report-keeping.ts`). All reports that wait when a write begins go into one file
 * (temporary, fsync, rename, fsync of the directory), so that a burst costs one fsync. A file is removed when all its
 * reports were answered; should a power cut bring it back, they are sent again, which is harmless.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, unlink } from 'node:fs/promises';
import path from 'node:path';
import { messageOf } from '../base/errors.ts';
import type { Report } from '../protocol/exchange.ts';
import type { Log } from './executor.ts';

export interface Spool {
  /** What an earlier worker left here. */
  readonly found: readonly Report[];
  /** Resolves when the report is on disk, or when it is no longer needed there. */
  keep(report: Report): Promise<void>;
  /** The report was answered: it will not be found again. */
  forget(report: { task: string; attempt: number }): void;
  /** Puts a report that the server cannot take aside, for a person to look at. */
  putAside(report: Report, why: string): Promise<void>;
}

interface SpoolFile {
  readonly path: string;
  readonly waiting: Set<string>;
  written: boolean;
}

/** A write that fails (disk full) is tried again after so long; meanwhile the report is in memory only. */
const RETRY_MS = 2000;
/** One file holds so many bytes and then some. */
const MAX_FILE_BYTES = 8 * 1024 * 1024;

export async function openSpool(directory: string, log: Log): Promise<Spool> {
  await mkdir(path.join(directory, 'damaged'), { recursive: true, mode: 0o700 });
  const files = new Map<string, SpoolFile>();
  const found: Report[] = [];
  for (const name of (await readdir(directory)).filter((name) => name.endsWith('.json')).sort()) {
    const reports = await readSpoolFile(directory, name, log);
    const file: SpoolFile = { path: path.join(directory, name), waiting: new Set(reports.map(keyOf)), written: true };
    for (const report of reports) {
      if (!files.has(keyOf(report))) found.push(report);
      files.set(keyOf(report), file);
    }
  }
  return makeSpool({ directory, log, files, found });
}

function makeSpool(state: { directory: string; log: Log; files: Map<string, SpoolFile>; found: Report[] }): Spool {
  const { directory, log, files } = state;
  const pending = new Map<string, Report>();
  const waiters = new Map<string, PromiseWithResolvers<void>>();
  let writing = false;

  const announce = (key: string): void => {
    waiters.get(key)?.resolve();
    waiters.delete(key);
  };
  const writeAll = async (): Promise<void> => {
    if (writing) return;
    writing = true;
    while (pending.size > 0) await writeBatch(takeBatch(pending));
    writing = false;
  };
  const writeBatch = async (batch: Map<string, Report>): Promise<void> => {
    const file: SpoolFile = {
      path: path.join(directory, `${Date.now()}-${randomUUID().slice(0, 8)}.json`),
      waiting: new Set(batch.keys()),
      written: false,
    };
    for (const key of batch.keys()) files.set(key, file);
    try {
      await writeDurably(file.path, JSON.stringify([...batch.values()]));
      file.written = true;
      for (const key of batch.keys()) announce(key);
      if (file.waiting.size === 0) removeFile(file, log);
    } catch (error) {
      log.error(
        { directory, error: messageOf(error) },
        'cannot spool results, they are in memory only: make room on this disk',
      );
      for (const key of file.waiting) pending.set(key, batch.get(key) as Report);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  };

  return {
    found: state.found,
    keep: (report) => {
      const key = keyOf(report);
      const waiter = waiters.get(key);
      if (waiter) return waiter.promise;
      if (files.has(key)) return Promise.resolve();
      const made = Promise.withResolvers<void>();
      waiters.set(key, made);
      pending.set(key, report);
      queueMicrotask(() => void writeAll());
      return made.promise;
    },
    forget: (report) => {
      const key = keyOf(report);
      announce(key);
      pending.delete(key);
      const file = files.get(key);
      if (!file) return;
      files.delete(key);
      file.waiting.delete(key);
      if (file.waiting.size === 0 && file.written) removeFile(file, log);
    },
    putAside: (report, why) =>
      writeDurably(path.join(directory, 'damaged', `refused-${keyOf(report)}.json`), JSON.stringify({ why, report })),
  };
}

function takeBatch(pending: Map<string, Report>): Map<string, Report> {
  const batch = new Map<string, Report>();
  let bytes = 0;
  for (const [key, report] of pending) {
    if (bytes > MAX_FILE_BYTES) break;
    bytes += sizeOf(report);
    batch.set(key, report);
    pending.delete(key);
  }
  return batch;
}

function removeFile(file: SpoolFile, log: Log): void {
  unlink(file.path).catch((error) =>
    log.warn({ file: file.path, error: messageOf(error) }, 'cannot remove a report that was answered'),
  );
}

async function readSpoolFile(directory: string, name: string, log: Log): Promise<Report[]> {
  const file = path.join(directory, name);
  try {
    const value: unknown = JSON.parse(await readFile(file, 'utf8'));
    if (!Array.isArray(value) || !value.every(isReport)) throw new Error('it holds something else than reports');
    return value;
  } catch (error) {
    const aside = path.join(directory, 'damaged', name);
    await rename(file, aside).catch(() => undefined);
    log.error({ file: aside, error: messageOf(error) }, 'a spooled result cannot be read and was put aside');
    return [];
  }
}

/** Enough to tell a report from damage; the server validates it in full. */
function isReport(value: unknown): value is Report {
  if (typeof value !== 'object' || value === null) return false;
  const { task, attempt, secret, outcome } = value as Partial<Report>;
  return (
    typeof task === 'string' && typeof attempt === 'number' && typeof secret === 'string' && typeof outcome === 'string'
  );
}

export async function writeDurably(file: string, text: string): Promise<void> {
  const temporary = `${file}.new`;
  const handle = await open(temporary, 'w', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
  const directory = await open(path.dirname(file), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

export function keyOf(attempt: { task: string; attempt: number }): string {
  return `${attempt.task}-${attempt.attempt}`;
}

/** Roughly what a report takes as JSON. */
export function sizeOf(report: Report): number {
  const logs = (report.stdout?.data?.length ?? 0) + (report.stderr?.data?.length ?? 0);
  return 400 + logs + (report.message?.length ?? 0) + 200 * (report.outputs?.length ?? 0);
}
