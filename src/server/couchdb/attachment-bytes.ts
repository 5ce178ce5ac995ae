import type { Database } from '../pool/documents.ts';
import type { WholeBlob } from '../pool/files.ts';
import type { Attachments } from '../store/document-rows.ts';
import { agentFor, type House } from './house.ts';

export async function storeBytes(house: House, database: Database, user: string | null, blobs: readonly WholeBlob[]) {
  await house.pool.putBlobs(agentFor(database, user), database.name, blobs);
}

export async function readAttachment(house: House, database: Database, one: Attachments[string]): Promise<Buffer> {
  const { bytes } = await house.pool.getBlob(agentFor(database, null), database.name, one.blob, 0);
  const chunks: Buffer[] = [];
  for await (const chunk of bytes as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
