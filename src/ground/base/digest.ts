import { PilotageError } from './errors.ts';

declare const brand: unique symbol;
/** The SHA-256 of some bytes, as 64 lower-case hexadecimal digits: the name of a blob. */
export type Digest = string & { readonly [brand]: 'Digest' };

const DIGEST = /^[0-9a-f]{64}$/;

export function parseDigest(text: string): Digest {
  if (!DIGEST.test(text)) {
    throw new PilotageError(
      'bad-request',
      `'${text.slice(0, 80)}' is not a digest: a blob is named by 64 lower-case hexadecimal digits`,
    );
  }
  return text as Digest;
}
