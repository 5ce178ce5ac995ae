import Type from 'typebox';
import { Bytes, Count, closed, DigestText } from './schema.ts';

/**
 * With `sizes` (bytes, one for each digest) the server also says at once when what is missing would be over the
 * project's quota, before a byte is sent. `more` are bytes that will be asked about next, as many as they can be: the
 * answer then says whether they would fit too. What is there is held for a while, so that it does not go meanwhile.
 */
export const MissingRequest = closed({
  digests: Type.Array(DigestText, { maxItems: 10_000 }),
  sizes: Type.Optional(Type.Array(Bytes, { maxItems: 10_000 })),
  more: Type.Optional(Bytes),
});
export type MissingRequest = Type.Static<typeof MissingRequest>;
/** The digests that the project does not have; `fits` when `more` was asked about. */
export const MissingReply = closed({ missing: Type.Array(DigestText), fits: Type.Optional(Type.Boolean()) });
export type MissingReply = Type.Static<typeof MissingReply>;

/** Names one upload, so that it can go on where it broke off. Made by the client, different for each file it sends. */
export const UploadId = Type.String({ pattern: '^[A-Za-z0-9-]{8,64}$' });
/** How many bytes of an upload the server has: the offset to go on at. */
export const UploadState = closed({ received: Bytes });
export type UploadState = Type.Static<typeof UploadState>;

/** What a project keeps, in bytes (what nothing refers to goes after a grace time), and how many of its tasks run and may run. */
export const ProjectUsage = closed({
  project: Type.String(),
  blobs: Count,
  bytes: Bytes,
  unreferencedBlobs: Count,
  unreferencedBytes: Bytes,
  quotaBytes: Type.Union([Bytes, Type.Null()]),
  runningTasks: Count,
  runningLimit: Type.Union([Count, Type.Null()]),
});
export type ProjectUsage = Type.Static<typeof ProjectUsage>;
export const QuotaRequest = closed({ bytes: Type.Union([Bytes, Type.Null()]) });
export type QuotaRequest = Type.Static<typeof QuotaRequest>;
