/** Runs the functions of one design document; a function that misbehaves is told from the others and left out. */
import type { Log } from '../../../ground/base/log.ts';
import type { Design, ViewFunctions } from './design.ts';
import type { ViewLimits } from './limits.ts';
import { type MappedRow, readMapped, type Say } from './mapped-rows.ts';
import { openSandbox, type Sandbox, SandboxFailure, type Watch } from './sandbox.ts';
import { doesNotCompile, failedOn, reduceFailed, type Spoiled } from './spoiled.ts';

export interface Mapper {
  /** The rows of a document, of all views that are not spoiled. A function that throws gives none, as in CouchDB. */
  map(document: { id: string; json: string }): Promise<readonly MappedRow[]>;
  /** Makes the view's own reduce function ready. Rejects when it does not compile. */
  openReduce(view: ViewFunctions): Promise<Reduce>;
  /** Lets the interpreter go; the next call opens another. */
  release(): void;
}

/** Keys is a JSON text of [[key, id], …], or '' when reductions are reduced. What throws reduces to null, as in CouchDB. */
export type Reduce = (keys: string, values: string, rereduce: boolean) => string;

export interface MapperPlace {
  readonly limits: ViewLimits;
  readonly watch: Watch;
  readonly log: Log;
  readonly database: string;
  spoil(spoiled: Spoiled): void;
  isSpoiled(view: number): boolean;
}

export function createMapper(design: Design, place: MapperPlace): Mapper {
  let sandbox: Sandbox | undefined;
  const sayThrown = rarely(place, design);
  const release = (): void => {
    sandbox = undefined;
  };

  async function opened(): Promise<Sandbox> {
    if (sandbox?.hasLeftovers) release();
    sandbox ??= await openFor(design.views.filter((view) => !place.isSpoiled(view.number)));
    return sandbox;
  }

  async function openFor(views: readonly ViewFunctions[]): Promise<Sandbox> {
    const made = await openSandbox(design.lib, place.limits, place.watch);
    for (const view of views) addMap(made, view);
    return made;
  }

  function addMap(to: Sandbox, view: ViewFunctions): void {
    try {
      to.addMap(view.number, view.name, view.map);
    } catch (error) {
      if (!(error instanceof SandboxFailure)) throw error;
      place.spoil(doesNotCompile(view, 'map', error));
    }
  }

  /** Each view alone, in a fresh interpreter: the one that fails again is to blame. */
  async function blame(document: { id: string; json: string }): Promise<MappedRow[]> {
    release();
    const rows: MappedRow[] = [];
    for (const view of design.views) {
      if (place.isSpoiled(view.number)) continue;
      try {
        const alone = await openFor([view]);
        if (!place.isSpoiled(view.number)) rows.push(...readMapped(alone.map(document.json), sayThrown(document.id)));
      } catch (error) {
        if (!(error instanceof SandboxFailure)) throw error;
        if (error.failure === 'thrown') sayThrown(document.id)('error', error.message);
        else place.spoil(failedOn(view, document, error));
      }
    }
    return rows;
  }

  return {
    map: async (document) => {
      try {
        return readMapped((await opened()).map(document.json), sayThrown(document.id));
      } catch (error) {
        if (!(error instanceof SandboxFailure)) throw error;
        if (error.failure !== 'thrown') return blame(document);
        sayThrown(document.id)('error', error.message);
        return [];
      }
    },
    openReduce: async (view) => {
      const opened = await openSandbox(design.lib, place.limits, place.watch);
      try {
        opened.addReduce(view.name, view.reduce ?? '');
      } catch (error) {
        throw error instanceof SandboxFailure ? reduceFailed(view, error) : error;
      }
      return (keys, values, rereduce) => {
        try {
          return opened.reduce(view.name, keys, values, rereduce);
        } catch (error) {
          if (!(error instanceof SandboxFailure)) throw error;
          if (error.failure !== 'thrown') throw reduceFailed(view, error);
          sayThrown(`reduce of ${view.name}`)('error', error.message);
          return 'null';
        }
      };
    },
    release,
  };
}

/** What functions say is for their author's eyes, and must not fill a log: the first ten of each interpreter's life. */
function rarely({ log, database }: MapperPlace, design: Design): (document: string) => Say {
  let said = 0;
  return (document) => (kind, message) => {
    if (said++ >= 10) return;
    const facts = { database, design: design.id, document };
    if (kind === 'error') log.info(facts, `a view's function threw, and the document is left out of it: ${message}`);
    else log.debug(facts, `a view's function says: ${message}`);
  };
}
