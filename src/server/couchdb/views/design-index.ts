/** One design document's index: kept up to date with the database, and asked. */

import type { DatabaseSync } from 'node:sqlite';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { PilotageError } from '../../../ground/base/errors.ts';
import type { Log } from '../../../ground/base/log.ts';
import { builtinReducer, type Reducer } from './builtin-reduce.ts';
import { createCatchUp, type Page } from './catch-up.ts';
import { queryParseError } from './couch-error.ts';
import { type Design, getView, type ViewFunctions } from './design.ts';
import { type MappedDocument, openRows, rowsLayout } from './index-rows.ts';
import { dropState, type IndexState, openState, saveState } from './index-state.ts';
import { toRanges } from './key-range.ts';
import type { ViewLimits } from './limits.ts';
import { type MapAnswer, readMap } from './map-query.ts';
import { createMapper } from './mapper.ts';
import { ownReducer } from './own-reduce.ts';
import { groupLevelOf, readReduced } from './reduce-query.ts';
import type { Watch } from './sandbox.ts';
import { hung, isOtherDocument, type Spoiled, toError } from './spoiled.ts';
import type { Changed, Changes, ViewQuery } from './views.ts';

export type Answer = (MapAnswer | { readonly rows: string }) & { readonly position: string };

export interface DesignIndex {
  readonly signature: string;
  query(view: string, query: ViewQuery): Promise<Answer>;
  /** Lets the interpreter go. */
  release(): void;
  /**
   * Other functions stand in the design document by now, and their index has taken this one's place in the file: who
   * still waits for it is told to ask again.
   */
  retire(): void;
}

export interface IndexPlace {
  readonly db: DatabaseSync;
  readonly database: string;
  readonly read: (after: string) => Promise<Changes>;
  readonly limits: ViewLimits;
  readonly watch: Watch;
  /** Its functions hung the thread before. */
  readonly isCondemned: boolean;
  readonly log: Log;
}

/** How long documents are mapped before others get their turn. */
const TURN_MS = 15;
/** Documents of one transaction: a page of changes may be larger. */
const DOCUMENTS_AT_ONCE = 1000;
const KEPT_ANSWERS = 20;

export function openDesignIndex(design: Design, place: IndexPlace): DesignIndex {
  const { db, limits } = place;
  let state = openIndex();
  let rows = openRows(db, state.number);
  let isRetired = false;
  /** Answers of reduce functions, until a row changes. */
  const answers = new Map<string, string>();
  const mapper = createMapper(design, { ...place, spoil, isSpoiled: (view) => spoiledOf(view) !== undefined });
  const catchUp = createCatchUp(readPage);
  if (place.isCondemned) condemn();

  function openIndex(): IndexState {
    return openState(db, design.id, { signature: design.signature, layout: rowsLayout });
  }

  function startAgain(): void {
    dropState(db, state.number);
    state = openIndex();
    rows = openRows(db, state.number);
    answers.clear();
    mapper.release();
  }

  function spoiledOf(view: number): Spoiled | undefined {
    return state.spoiled.find((one) => one.view === view);
  }

  function spoil(spoiled: Spoiled): void {
    state = { ...state, spoiled: [...state.spoiled, spoiled] };
    place.log.warn({ database: place.database, design: design.id }, `a view is spoiled: ${spoiled.reason}`);
  }

  function condemn(): void {
    for (const view of design.views) if (!spoiledOf(view.number)) spoil(hung(view));
    saveState(db, state);
  }

  function requireCurrent(): void {
    if (isRetired)
      throw new PilotageError('wrong-state', `${design.id} was changed while its views were read: ask again`);
  }

  async function readPage(): Promise<Page> {
    const { changes, position, ...page } = await place.read(state.position);
    requireCurrent();
    if (changes.some(({ id, json }) => state.spoiled.some((one) => isOtherDocument(one, id, json)))) {
      startAgain();
      return { more: true };
    }
    const wanted = changes.filter(({ id }) => !id.startsWith('_design/'));
    for (let from = 0; from === 0 || from < wanted.length; from += DOCUMENTS_AT_ONCE) {
      const last = from + DOCUMENTS_AT_ONCE >= wanted.length;
      await take(wanted.slice(from, from + DOCUMENTS_AT_ONCE), last ? position : state.position);
    }
    return page;
  }

  /** The position moves with the last rows of a page: after a crash in between the page comes once more. */
  async function take(changes: readonly Changed[], position: string): Promise<void> {
    const mapped: MappedDocument[] = [];
    let turnEnds = performance.now() + TURN_MS;
    for (const { id, json } of changes) {
      mapped.push({ id, rows: json === null ? [] : await mapper.map({ id, json }) });
      if (performance.now() < turnEnds) continue;
      await nextTurn();
      requireCurrent();
      turnEnds = performance.now() + TURN_MS;
    }
    requireCurrent();
    if (mapped.length === 0 && position === state.position) return;
    const replaced = rows.replace(mapped, { ...state, position });
    state = replaced.state;
    if (replaced.changed) answers.clear();
  }

  async function query(name: string, asked: ViewQuery): Promise<Answer> {
    const view = getView(design, name);
    const reduces = isReduced(view, asked);
    const ranges = toRanges(view.number, asked);
    if (asked.update !== false) await catchUp.run();
    requireCurrent();
    const spoiled = spoiledOf(view.number);
    if (spoiled) throw toError(spoiled);
    const readable = { rows, ranges, maxCharacters: limits.charactersPerResult };
    const { position } = state;
    if (!reduces) return { ...readMap(readable, asked, state.counts[view.number] ?? 0), position };
    const key = JSON.stringify([name, { ...asked, update: undefined }]);
    const kept = answers.get(key);
    if (kept !== undefined) return { rows: kept, position };
    const newReducer = await reducerOf(view);
    requireCurrent();
    const answer = readReduced(readable, asked, newReducer);
    keep(key, answer);
    return { rows: answer, position };
  }

  function keep(key: string, answer: string): void {
    if (answer.length > 1_000_000) return;
    if (answers.size >= KEPT_ANSWERS) answers.delete(answers.keys().next().value as string);
    answers.set(key, answer);
  }

  async function reducerOf(view: ViewFunctions): Promise<() => Reducer> {
    const builtin = builtinReducer(view.reduce ?? '');
    if (builtin) return builtin;
    const reduce = await mapper.openReduce(view);
    return () => ownReducer(reduce);
  }

  const retire = () => {
    isRetired = true;
    mapper.release();
  };
  return { signature: design.signature, query, release: mapper.release, retire };
}

/** As in CouchDB, a view that can reduce does, unless told not to. */
function isReduced({ reduce }: ViewFunctions, query: ViewQuery): boolean {
  if (reduce !== undefined && query.reduce !== false) {
    groupLevelOf(query);
    return true;
  }
  if (query.reduce === true) throw queryParseError('Reduce is invalid for map-only views.');
  if (query.group === true || (query.groupLevel ?? 0) > 0)
    throw queryParseError('Invalid use of grouping on a map view.');
  return false;
}
