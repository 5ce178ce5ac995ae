/** Many small blobs in one body: a line of JSON, `[[digest, size], …]`, then the bytes one after the other. */
import { PilotageError } from '../base/errors.ts';

/** Blobs up to this size travel in packs, and a pack grows to about so many bytes and blobs. */
export const PACKED_BYTES = 64 * 1024;
export const PACK_BYTES = 4 * 1024 * 1024;
export const PACK_BLOBS = 500;
/** The largest pack that a server reads. */
export const MAX_PACK_BYTES = 16 * 1024 * 1024;

export interface PackedBlob {
  readonly digest: string;
  readonly bytes: Buffer;
}

export function formatPack(blobs: readonly PackedBlob[]): Buffer {
  const head = JSON.stringify(blobs.map(({ digest, bytes }) => [digest, bytes.length]));
  return Buffer.concat([Buffer.from(`${head}\n`), ...blobs.map(({ bytes }) => bytes)]);
}

/** Rejects what is no whole pack. The digests are not compared with the bytes here. */
export function parsePack(pack: Buffer): PackedBlob[] {
  const end = pack.indexOf(0x0a);
  const head = readHead(end < 0 ? '' : pack.toString('utf8', 0, end));
  const blobs: PackedBlob[] = [];
  let at = end + 1;
  for (const [digest, size] of head) {
    blobs.push({ digest, bytes: pack.subarray(at, at + size) });
    at += size;
  }
  if (at !== pack.length) throw damaged(`its list says ${at - end - 1} bytes, and there are ${pack.length - end - 1}`);
  return blobs;
}

function readHead(text: string): [string, number][] {
  let head: unknown;
  try {
    head = JSON.parse(text);
  } catch {
    throw damaged('it does not begin with a list of digests and sizes');
  }
  const isEntry = (entry: unknown): entry is [string, number] =>
    Array.isArray(entry) && /^[0-9a-f]{64}$/.test(String(entry[0])) && Number.isSafeInteger(entry[1]) && entry[1] >= 0;
  if (!Array.isArray(head) || head.length === 0 || head.length > 10_000 || !head.every(isEntry))
    throw damaged('it does not begin with a list of digests and sizes');
  return head;
}

function damaged(why: string): PilotageError {
  return new PilotageError('bad-request', `this is no pack of blobs: ${why}`);
}
