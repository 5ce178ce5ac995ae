/** All indexes of one database, in one file. */
import type { DatabaseSync } from 'node:sqlite';
import { messageOf, PilotageError } from '../../../ground/base/errors.ts';
import type { Log } from '../../../ground/base/log.ts';
import { type Design, readDesign } from './design.ts';
import { type Answer, type DesignIndex, openDesignIndex } from './design-index.ts';
import { type DocumentsIndex, openDocumentsIndex } from './documents-index.ts';
import { fileOf, isDamage, openIndexFile, removeIndexFile } from './index-file.ts';
import type { ViewLimits } from './limits.ts';
import { openPatterns } from './patterns.ts';
import type { Watch } from './sandbox.ts';
import type { Running } from './thread-messages.ts';
import type { Changes, DesignText, FindRequest, ViewQuery } from './views.ts';

export interface DatabaseViews {
  query(design: DesignText, view: string, query: ViewQuery): Promise<Answer>;
  find(request: FindRequest): Promise<string>;
  /** Lets the interpreters go that have not been used for the longest time. */
  releaseAllBut(kept: ReadonlySet<DesignIndex>): void;
  close(): void;
  /** Closes, and removes the file. */
  remove(): void;
}

export interface DatabasePlace {
  readonly directory: string;
  readonly database: string;
  readonly read: (after: string) => Promise<Changes>;
  readonly limits: ViewLimits;
  readonly watch: RunningWatch;
  readonly condemned: readonly Running[];
  readonly log: Log;
  /** Called when a design's functions are about to run. */
  onUse(index: DesignIndex, design: Design): void;
}

export function openDatabaseViews(place: DatabasePlace): DatabaseViews {
  const { database, directory, log } = place;
  const file = fileOf(directory, database);
  let opened: Opened | undefined;
  let removed = false;

  function open(): Opened {
    opened ??= { db: openIndexFile(file, database, log), designs: new Map(), documents: undefined };
    return opened;
  }

  function indexOf(design: Design): DesignIndex {
    const { db, designs } = open();
    const known = designs.get(design.id);
    const isKnown = known?.signature === design.signature;
    if (!isKnown) known?.retire();
    const index = isKnown ? known : openDesignIndex(design, { ...place, db, ...watching(design) });
    designs.set(design.id, index);
    place.onUse(index, design);
    return index;
  }

  function watching({ id, signature }: Design): { watch: Watch; isCondemned: boolean } {
    const isCondemned = place.condemned.some(
      (one) => one.database === database && one.design === id && one.signature === signature,
    );
    return { watch: watchFor({ database, design: id, signature }, place.watch), isCondemned };
  }

  function close(): void {
    opened?.db.close();
    opened = undefined;
  }

  /** A file that turns out to be damaged is built again; those who were reading it then begin again, once. */
  async function withRepair<T>(ask: () => Promise<T>): Promise<T> {
    const before = open();
    try {
      return await ask();
    } catch (error) {
      if (removed) throw wasDropped(database);
      if (opened === before && !isDamage(error)) throw error;
      if (opened === before) throwAway(error);
      return ask();
    }
  }

  function throwAway(error: unknown): void {
    log.warn(
      { database, file, error: messageOf(error) },
      `the indexes of the views of ${database} are damaged (${messageOf(error)}): they are thrown away and built again`,
    );
    close();
    removeIndexFile(file);
  }

  return {
    query: (text, view, query) => {
      const design = readDesign(text);
      return withRepair(() => indexOf(design).query(view, query));
    },
    find: async (request) => {
      const test = await openPatterns(
        place.limits,
        watchFor({ database, design: '_find', signature: '' }, place.watch),
      );
      return withRepair(() => {
        const { db } = open();
        opened!.documents ??= openDocumentsIndex({ ...place, db });
        return opened!.documents.find(request, test);
      });
    },
    releaseAllBut: (kept) => {
      for (const index of opened?.designs.values() ?? []) if (!kept.has(index)) index.release();
    },
    close,
    remove: () => {
      removed = true;
      close();
      removeIndexFile(file);
    },
  };
}

/** Told whose functions begin to run. */
export interface RunningWatch {
  enter(running: Running): void;
  leave(): void;
}

function watchFor(running: Running, watch: RunningWatch): Watch {
  return { enter: () => watch.enter(running), leave: watch.leave };
}

function wasDropped(database: string): PilotageError {
  return new PilotageError('wrong-state', `the indexes of ${database} were dropped while they were read: ask again`);
}

interface Opened {
  readonly db: DatabaseSync;
  readonly designs: Map<string, DesignIndex>;
  documents: DocumentsIndex | undefined;
}
