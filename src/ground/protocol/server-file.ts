import Type from 'typebox';

/** `server.json` in the data directory: how a command on the same machine finds the server. */
export const ServerFile = Type.Object({
  url: Type.String(),
  pid: Type.Integer(),
  fingerprint: Type.Union([Type.String(), Type.Null()]),
  version: Type.String(),
});
export type ServerFile = Type.Static<typeof ServerFile>;
