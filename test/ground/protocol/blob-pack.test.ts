import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { formatPack, parsePack } from '../../../src/ground/protocol/blob-pack.ts';

const packed = (bytes: Buffer) => ({ digest: createHash('sha256').update(bytes).digest('hex'), bytes });

describe('a pack of blobs', () => {
  test('comes back as it was made, with empty ones and ones that hold newlines', () => {
    const blobs = [Buffer.alloc(0), Buffer.from('\n\n'), randomBytes(70_000), Buffer.from('x')].map(packed);
    expect(parsePack(formatPack(blobs))).toEqual(blobs);
  });

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['no list', Buffer.from('bytes of a file\n')],
    ['an empty list', Buffer.from('[]\n')],
    ['a list of other things', Buffer.from('[["../../etc/passwd",1]]\nx')],
    ['a negative size', Buffer.from(`[["${'a'.repeat(64)}",-1]]\n`)],
    ['too few bytes', formatPack([packed(randomBytes(100))]).subarray(0, -1)],
    ['too many bytes', Buffer.concat([formatPack([packed(randomBytes(100))]), Buffer.from('x')])],
  ])('%s is refused', (_what, bytes) => {
    expect(() => parsePack(bytes)).toThrow(expect.objectContaining({ code: 'bad-request' }));
  });
});
