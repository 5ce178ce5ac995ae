/** The documents of a database, kept up to date for queries over all of them. */
import type { DatabaseSync } from 'node:sqlite';
import { createCatchUp } from './catch-up.ts';
import { documentsLayout, openDocumentCopies } from './document-copies.ts';
import { prepareFind } from './find.ts';
import { openState } from './index-state.ts';
import type { ViewLimits } from './limits.ts';
import type { TestPattern } from './selector.ts';
import type { Changes, FindRequest } from './views.ts';

export interface DocumentsIndex {
  /** The documents as one JSON text. */
  find(request: FindRequest, test: TestPattern): Promise<string>;
}

interface DocumentsPlace {
  readonly db: DatabaseSync;
  readonly read: (after: string) => Promise<Changes>;
  readonly limits: ViewLimits;
}

/** No design document has this id. */
const DESIGN = '';

export function openDocumentsIndex({ db, read, limits }: DocumentsPlace): DocumentsIndex {
  let state = openState(db, DESIGN, { signature: 'documents', layout: documentsLayout });
  const copies = openDocumentCopies(db, state.number);
  const catchUp = createCatchUp(async () => {
    const { changes, position, ...page } = await read(state.position);
    if (changes.length === 0 && position === state.position) return page;
    const next = { ...state, position };
    copies.replace(
      changes.filter(({ id }) => !id.startsWith('_design/')),
      next,
    );
    state = next;
    return page;
  });
  return {
    find: async (request, test) => {
      const find = prepareFind(request, test);
      await catchUp.run();
      return find.run({ copies, maxCharacters: limits.charactersPerResult });
    },
  };
}
