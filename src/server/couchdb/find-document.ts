import { type Database, getDocuments } from '../pool/documents.ts';
import type { DocumentRow } from '../store/document-rows.ts';
import { notFound } from './couch-error.ts';
import type { House } from './house.ts';

export async function findDocument(house: House, database: Database, id: string): Promise<DocumentRow> {
  const [row] = await getDocuments(house.parts, database, [id]);
  if (!row) throw notFound('missing');
  if (row.deleted !== 0) throw notFound('deleted');
  return row;
}
