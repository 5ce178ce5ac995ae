import type { Changes } from '../../../../src/server/couchdb/views/views.ts';

export const DOCUMENTS = 30_000;
const PAGE = 100;

/** A database of 30,000 documents whose positions are their numbers: no process needs to keep it. */
export function numbered(_database: string, after: string): Promise<Changes> {
  const from = Number(after || 0);
  const to = Math.min(DOCUMENTS, from + PAGE);
  const changes = Array.from({ length: to - from }, (_, at) => {
    const id = `d${from + at}`;
    return { id, json: JSON.stringify({ _id: id, _rev: '1-a', n: from + at }) };
  });
  return Promise.resolve({ changes, position: String(to), more: to < DOCUMENTS });
}
