import { createHash } from 'node:crypto';
import { couchError } from './couch-error.ts';
import type { DesignText } from './views.ts';

/** A design document as the thread works with it. */
export interface Design {
  readonly id: string;
  /** Changes when the functions do: an index made by others is of no use. */
  readonly signature: string;
  readonly views: readonly ViewFunctions[];
  readonly lib: unknown;
}

export interface ViewFunctions {
  /** Place in the index; names may be long. */
  readonly number: number;
  readonly name: string;
  readonly map: string;
  readonly reduce: string | undefined;
}

/** Goes up when the same functions would give other rows: another order of keys, another table. */
const FORMAT = 1;

export function readDesign({ id, language = 'javascript', views, options }: DesignText): Design {
  if (language !== 'javascript')
    throw couchError(
      'bad-spec',
      500,
      'unknown_query_language',
      `the design document ${id} is written in '${language}': this server runs views in javascript only`,
    );
  const entries = Object.entries(views).filter(([, view]) => typeof view?.map === 'string');
  const text = JSON.stringify([FORMAT, language, views, options ?? null]);
  return {
    id,
    signature: createHash('sha256').update(text).digest('hex'),
    views: entries.map(([name, { map, reduce }], number) => ({
      number,
      name,
      map: map as string,
      reduce: typeof reduce === 'string' && reduce.trim() !== '' ? reduce.trim() : undefined,
    })),
    lib: (views as Record<string, unknown>).lib,
  };
}

export function getView(design: Design, name: string): ViewFunctions {
  const view = design.views.find((one) => one.name === name);
  if (view) return view;
  throw couchError('not-found', 404, 'not_found', 'missing_named_view');
}
