import Type from 'typebox';
import { Bytes, Count, closed, DigestText } from './schema.ts';

/**
 * With `sizes` (bytes, one for each digest) the server also says at once when what is missing would be over the
 * project's quota, before a byte is sent. What is there is held for a while, so that it does not go meanwhile.
 */
export const MissingRequest = closed({
  digests: Type.Array(DigestText, { maxItems: 10_000 }),
  sizes: Type.Optional(Type.Array(Bytes, { maxItems: 10_000 })),
});
export type MissingRequest = Type.Static<typeof MissingRequest>;
/** The digests that the project does not have. */
export const MissingReply = closed({ missing: Type.Array(DigestText) });
export type MissingReply = Type.Static<typeof MissingReply>;

/** Names one upload, so that it can go on where it broke off. Made by the client, different for each file it sends. */
export const UploadId = Type.String({ pattern: '^[A-Za-z0-9-]{8,64}$' });
/** How many bytes of an upload the server has: the offset to go on at. */
export const UploadState = closed({ received: Bytes });
export type UploadState = Type.Static<typeof UploadState>;

/** What a project keeps, in bytes; what nothing refers to goes after a grace time. */
export const ProjectUsage = closed({
  project: Type.String(),
  blobs: Count,
  bytes: Bytes,
  unreferencedBlobs: Count,
  unreferencedBytes: Bytes,
  quotaBytes: Type.Union([Bytes, Type.Null()]),
});
export type ProjectUsage = Type.Static<typeof ProjectUsage>;
export const QuotaRequest = closed({ bytes: Type.Union([Bytes, Type.Null()]) });
export type QuotaRequest = Type.Static<typeof QuotaRequest>;
