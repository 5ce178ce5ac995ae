import Type from 'typebox';
import { Bytes, closed, DigestText, Permissions } from './schema.ts';

/** A file or directory that an attempt left behind. */
export const OutputFile = closed({
  name: Type.String({ minLength: 1, maxLength: 4096 }),
  digest: DigestText,
  kind: Type.Union([Type.Literal('file'), Type.Literal('tree')]),
  size: Bytes,
  executable: Type.Optional(Type.Boolean()),
  permissions: Type.Optional(Permissions),
});
export type OutputFile = Type.Static<typeof OutputFile>;
