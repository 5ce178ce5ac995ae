/**
 * What an agent has to know of an attempt after it was killed, at any moment. Each phase is on disk before the deed that
 * follows it; a deed may be repeated, except for the submission, which `submitting` announces.
 *
 *   staging ──▶ submitting ──▶ submitted ──▶ ended ──▶ merging ──▶ reported ──▶ (gone)
 *      │            │              │
 *      └────────────┴── cancelled ─┘   nobody wants it any more: it is ended, and told so
 */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { messageOf } from '../../ground/base/errors.ts';
import type { Log } from '../../ground/claimant/executor.ts';
import { keyOf, writeDurably } from '../../ground/claimant/spool.ts';
import { removeDirectory } from '../../ground/content/remove-directory.ts';
import type { Claim, Report } from '../../ground/protocol/exchange.ts';
import type { RecordEntry } from '../../ground/protocol/job.ts';
import type { Site } from '../../ground/protocol/site.ts';
import type { TaskSpec } from '../../ground/protocol/spec.ts';
import type { BatchId, BatchName } from '../scheduler/scheduler.ts';
import type { PilotThere } from './pilot/pilot-job.ts';
import type { SubJob } from './read-record.ts';

/** How a program ended, as far as it is known. */
export interface Ending {
  readonly outcome: 'succeeded' | 'failed';
  readonly reason?: NonNullable<Report['reason']>;
  readonly message?: string;
  readonly exitCode?: number;
  readonly signal?: string;
}

export interface JournalEntry {
  readonly claim: Claim;
  readonly spec: TaskSpec;
  readonly name: BatchName;
  readonly phase: 'staging' | 'submitting' | 'submitted' | 'ended' | 'merging' | 'reported';
  readonly machine: string;
  /** How its site was when it began: the file of sites may say something else by now. */
  readonly manner?: Pick<Site, 'transport' | 'scheduler' | 'staging'>;
  /** Of the job, on the machine; absolute. Known once it is made. */
  readonly directory?: string;
  readonly batchId?: BatchId;
  readonly submittedAt?: string;
  readonly startedAt?: string;
  readonly ending?: Ending;
  readonly report?: Report;
  readonly entries?: readonly RecordEntry[];
  readonly subJobs?: readonly SubJob[];
  readonly cancelled?: boolean;
  /** Of a pilot: what is started there. */
  readonly pilot?: PilotThere;
  /** Its results could not be had: what it made on the machine is not removed. */
  readonly isLeft?: boolean;
}

export interface Journal {
  /** What an earlier agent had in its hands. */
  readonly found: readonly JournalEntry[];
  /** A directory for the files of this attempt. */
  directoryOf(entry: Pick<JournalEntry, 'claim'>): string;
  /** Resolves when it is on disk. */
  keep(entry: JournalEntry): Promise<void>;
  forget(entry: Pick<JournalEntry, 'claim'>): Promise<void>;
}

export async function openJournal(directory: string, log: Log): Promise<Journal> {
  const found: JournalEntry[] = [];
  for (const name of await readdir(directory)) {
    const entry = name.endsWith('.json') ? await readEntry(path.join(directory, name), log) : undefined;
    if (entry) found.push(entry);
  }
  const nameOf = ({ claim }: Pick<JournalEntry, 'claim'>): string => path.join(directory, keyOf(claim));
  return {
    found,
    directoryOf: nameOf,
    keep: async (entry) => {
      await mkdir(nameOf(entry), { recursive: true, mode: 0o700 });
      await writeDurably(`${nameOf(entry)}.json`, JSON.stringify(entry));
    },
    forget: async (entry) => {
      await removeDirectory(nameOf(entry));
      await rm(`${nameOf(entry)}.json`, { force: true });
    },
  };
}

/** One that cannot be read is left where it is, for a person to look at: its job may still run. */
async function readEntry(file: string, log: Log): Promise<JournalEntry | undefined> {
  try {
    const entry = JSON.parse(await readFile(file, 'utf8')) as JournalEntry;
    return entry.claim && entry.name && entry.phase ? entry : undefined;
  } catch (error) {
    log.error({ file, error: messageOf(error) }, 'the journal of a job cannot be read: look whether it still runs');
    return undefined;
  }
}
