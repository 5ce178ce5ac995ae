import type { WriteAnswer } from '../store/verbs/document-write.ts';
import { CouchError, conflict, notFound } from './couch-error.ts';

const STALE =
  'Document update conflict. It was given to others since: to free it by hand all the same, raise its scrub_count.';

/** Why a write was refused, as clients know it. */
export function toRefusal(answer: Extract<WriteAnswer, { ok: false }>, id: string): CouchError {
  switch (answer.why) {
    case 'conflict':
      return answer.what === 'stale' ? new CouchError(409, 'conflict', STALE) : conflict();
    case 'missing':
    case 'deleted':
      return notFound(answer.why);
    case 'missing-stub':
      return new CouchError(412, 'missing_stub', `Invalid attachment stub in ${id} for ${answer.what}`);
    case 'waiting':
      return new CouchError(
        403,
        'forbidden',
        `the task of '${id}' waits for others, or for its time: it is let go when these are done`,
      );
    case 'reserved':
      return new CouchError(
        403,
        'forbidden',
        `ids that begin with 'pilotage:' are those of tasks that came another way, and there is no '${id}'`,
      );
  }
}
