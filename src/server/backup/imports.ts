import { randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { createGunzip } from 'node:zlib';
import { messageOf, PilotageError } from '../../ground/base/errors.ts';
import { type Principal, requireAdministrator } from '../access/principal.ts';
import type { Parts } from '../pool/parts.ts';
import { knowTrees } from '../pool/trees.ts';
import { readDump } from '../store/dump/read-dump.ts';
import { IMPORTING } from '../store/verbs/projects.ts';
import { type Brought, bringRows } from './bring-rows.ts';
import type { Numbers } from './renumber.ts';

export interface ImportReplyFacts {
  readonly project: string;
  readonly submissions: { from: number; to: number }[];
  readonly tasks: number;
  readonly cancelled: number;
  readonly jobs: number;
  readonly documents: number;
}

/**
 * Projects that are brought in from an export: out of sight, then files by the usual calls, then rows, and all of it or
 * nothing. What is not completed goes by itself. For administrators.
 */
export interface Imports {
  start(
    who: Principal,
    wish: { project: string; quotaBytes?: number | undefined },
  ): Promise<{ id: string; place: string; holdSeconds: number }>;
  /**
   * Rows as an export gave them, compressed, once: some of them may be there, whatever became of the request. Rejects with
   * `bad-request` where they are not what they should be, with `wrong-state` when they come again; then the import is given up.
   */
  rows(who: Principal, to: { id: string; project: string }, bytes: Readable): Promise<ImportReplyFacts>;
  /** Idempotent. */
  end(who: Principal, id: string): Promise<void>;
  /** Removes what was given up, now and from time to time, until it is stopped. */
  stop(): Promise<void>;
}

/** Files of an import may take long to come. */
const HOLD_MS = 86_400_000;
const SWEEP_MS = 60_000;

export function createImports(parts: Parts, faultOfJson: Numbers['faultOfJson']): Imports {
  const { store, log } = parts;
  const stopped = new AbortController();
  const drop = async (projectId: number): Promise<void> => {
    while (!stopped.signal.aborted && (await store.dropImport({ projectId })))
      await store.removeChunk({ olderThanMs: parts.settings.abandonedAfterMs });
  };
  const find = async (who: Principal, id: string) => {
    requireAdministrator(who);
    const found = await store.findImported({ name: IMPORTING + id });
    if (found) return found;
    throw new PilotageError('gone', 'this import is not under way (any more): begin it again');
  };
  const sweep = async (): Promise<void> => {
    while (!stopped.signal.aborted) {
      try {
        for (const projectId of await store.abandonedImports()) await drop(projectId);
      } catch (error) {
        log.error({ err: error }, `removing a broken import failed, it will be tried again: ${messageOf(error)}`);
      }
      await pause(SWEEP_MS, undefined, { signal: stopped.signal }).catch(() => undefined);
    }
  };
  const sweeping = sweep();
  return {
    async start(who, { project, quotaBytes }) {
      requireAdministrator(who);
      if (project.startsWith('@'))
        throw new PilotageError(
          'bad-request',
          "names that begin with '@' are for what comes from elsewhere: take another one",
        );
      if ((await store.listProjects()).some(({ name }) => name === project)) throw taken(project);
      const id = randomUUID();
      await store.beginImport({ id, owner: who.name, quotaBytes: quotaBytes ?? null, forMs: HOLD_MS });
      return { id, place: IMPORTING + id, holdSeconds: HOLD_MS / 1000 };
    },
    async rows(who, { id, project }, bytes) {
      const { id: projectId } = await find(who, id);
      try {
        if (!(await store.beginImportRows({ id, forMs: HOLD_MS }))) throw cameBefore();
        const events = readDump(unpacked(bytes));
        const brought = await bringRows({ parts, id, projectId, forMs: HOLD_MS, faultOfJson }, events);
        await findTrees(parts, projectId, brought);
        const done = await finish({ id, projectId, project }, brought);
        await parts.audit.note(who, 'project.import', project);
        return { project, submissions: pairsOf(brought), cancelled: brought.cancelled, ...done };
      } catch (error) {
        await drop(projectId);
        throw toRefusal(error);
      } finally {
        parts.dirty();
      }
    },
    async end(who, id) {
      requireAdministrator(who);
      const found = await store.findImported({ name: IMPORTING + id });
      if (found) await drop(found.id);
    },
    async stop() {
      stopped.abort();
      await sweeping;
    },
  };

  async function finish(at: { id: string; projectId: number; project: string }, { lost }: Brought) {
    const result = await store.finishImport({ id: at.id, projectId: at.projectId, name: at.project, lost });
    if (result.kind === 'taken') throw taken(at.project);
    if (result.kind === 'over') throw new PilotageError('gone', 'this import is over: begin it again');
    if (result.kind === 'missing')
      throw new PilotageError(
        'bad-request',
        `the export refers to a file ${result.digest} that did not come with it; nothing was brought in`,
      );
    const { kind: _kind, ...counts } = result;
    return counts;
  }
}

function cameBefore(): PilotageError {
  return new PilotageError(
    'wrong-state',
    'rows of this import came before, and did not all come in: what there is of it was removed. Begin a new import, with all its files',
  );
}

/** Rows that the database does not take contradict each other: that is the export's fault. */
function toRefusal(error: unknown): unknown {
  if (!(error instanceof PilotageError) || error.code !== 'internal') return error;
  return new PilotageError(
    'bad-request',
    'the export is not one: its rows contradict each other; nothing was brought in',
    {
      cause: error,
    },
  );
}

async function* unpacked(bytes: Readable): AsyncGenerator<Buffer> {
  const unzip = createGunzip();
  bytes.once('error', (error) => unzip.destroy(error));
  try {
    yield* bytes.pipe(unzip) as AsyncIterable<Buffer>;
  } catch (error) {
    throw new PilotageError(
      'bad-request',
      `the rows did not come whole (${messageOf(error)}); nothing was brought in`,
      {
        cause: error,
      },
    );
  }
}

async function findTrees(parts: Parts, projectId: number, { trees, lost }: Brought): Promise<void> {
  const gone = new Set(lost);
  for (const digest of trees) {
    if (gone.has(digest)) continue;
    await knowTrees(parts, projectId, [{ name: digest, digest, kind: 'tree' }]).catch((error: unknown) => {
      // A directory that lists what its server had lost is kept as far as it is there.
      if (gone.size === 0) throw error;
    });
  }
}

function pairsOf({ submissions }: Brought): { from: number; to: number }[] {
  return [...submissions].map(([from, to]) => ({ from, to }));
}

function taken(project: string): PilotageError {
  return new PilotageError('already-exists', `there is a project '${project}' already: import under another name`);
}
