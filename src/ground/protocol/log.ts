import Type from 'typebox';
import { Bytes, closed } from './schema.ts';

export const LogStream = Type.Union([Type.Literal('stdout'), Type.Literal('stderr')]);
export type LogStream = Type.Static<typeof LogStream>;

/** A line of `GET /tasks/{id}/logs`: some output (base64) at its offset, or the end, with the task's state. */
export const LogEvent = closed({
  stream: Type.Optional(LogStream),
  /** Whose output it is: that of each attempt begins at 0. */
  attempt: Type.Optional(Type.Integer()),
  offset: Type.Optional(Bytes),
  data: Type.Optional(Type.String()),
  /** Bytes before `offset` that are no longer there: only the end of a running program's output is kept. */
  skipped: Type.Optional(Bytes),
  end: Type.Optional(closed({ state: Type.String(), attempt: Type.Integer() })),
});
export type LogEvent = Type.Static<typeof LogEvent>;
