import Type from 'typebox';
import { closed, DigestText } from './schema.ts';

export const MissingRequest = closed({ digests: Type.Array(DigestText, { maxItems: 10_000 }) });
export type MissingRequest = Type.Static<typeof MissingRequest>;
/** The digests that the project does not have. */
export const MissingReply = closed({ missing: Type.Array(DigestText) });
export type MissingReply = Type.Static<typeof MissingReply>;
