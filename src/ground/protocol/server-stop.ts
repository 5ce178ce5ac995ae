import Type from 'typebox';
import { closed } from './schema.ts';

/** Which of the servers of a database it was that was asked. */
export const StopReply = closed({ host: Type.String(), pid: Type.Integer() });
export type StopReply = Type.Static<typeof StopReply>;
