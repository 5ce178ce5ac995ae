import Type from 'typebox';
import { Bytes, Count, closed, DigestText, Name, nullable, Time } from './schema.ts';

/** A backup or an export that was begun. It ends by itself when nothing of it is asked for during `holdSeconds`. */
export const CopyStarted = closed({
  id: Type.String(),
  version: Type.String(),
  at: Time,
  holdSeconds: Type.Number(),
});
export type CopyStarted = Type.Static<typeof CopyStarted>;

/** What a server is known by: files of its data directory, by name. Secrets. */
export const ServerIdentity = closed({ files: Type.Record(Type.String(), Type.String()) });
export type ServerIdentity = Type.Static<typeof ServerIdentity>;

/** Files go to `place`, a project out of sight, by the calls for files; then rows, then the end. */
export const ImportRequest = closed({ project: Name, quotaBytes: Type.Optional(Bytes) });
export type ImportRequest = Type.Static<typeof ImportRequest>;
export const ImportStarted = closed({ id: Type.String(), place: Type.String(), holdSeconds: Type.Number() });
export type ImportStarted = Type.Static<typeof ImportStarted>;
/** What it became: submissions have new numbers, jobs keep theirs. */
export const ImportReply = closed({
  project: Type.String(),
  submissions: Type.Array(closed({ from: Count, to: Count })),
  tasks: Count,
  /** Tasks that were unfinished, and are cancelled here. */
  cancelled: Count,
  jobs: Count,
  documents: Count,
});
export type ImportReply = Type.Static<typeof ImportReply>;

/** A file of a backup, or within an export. */
const NamedFile = closed({ file: Type.String({ pattern: '^[a-z.]{1,40}$' }), size: Bytes, sha256: DigestText });

/** `manifest.json`: written last, so that what has one is whole. All that it does not name is no part of the backup. */
export const Manifest = closed({
  pilotage: Type.Union([Type.Literal('backup'), Type.Literal('project')]),
  format: Type.Literal(1),
  /** Of the server. */
  version: Type.String(),
  takenAt: Time,
  project: nullable(Type.String()),
  database: NamedFile,
  /** A line for each file that was kept: digest, a blank, bytes. */
  files: NamedFile,
  identity: nullable(NamedFile),
  counts: closed({ rows: Count, files: Count, bytes: Bytes }),
  /** Files that the server itself had lost. */
  lost: Type.Array(DigestText),
});
export type Manifest = Type.Static<typeof Manifest>;
