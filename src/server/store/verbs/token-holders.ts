import type { Fields } from '../../core/token.ts';
import type { Db } from '../db.ts';
import { sha256 } from '../secrets.ts';
import { sql } from '../sql.ts';
import type { TokenWriter } from './document-write.ts';

/** A token's own time runs out first: then nothing is left for the worker's lease to end. */
const SLACK_MS = 300_000;

/**
 * The worker in whose name clients of a user and host hold tokens: made when it is not there, alive as long as one of
 * its tokens may be. Returns its session.
 */
export async function holdAs(db: Db, writer: TokenWriter, fields: Fields): Promise<string> {
  const host = hostOf(fields);
  const session = `couchdb-${sha256(`${writer.projectId}\n${writer.owner}\n${host}`).slice(0, 32)}`;
  const until = db.now + writer.maxLockMs + SLACK_MS;
  await db.run(sql`insert into workers
      (session_id, secret_hash, token_id, name, host, pid, version, kinds, total, labels, projects, registered_at, seen_at, lease_until, state)
    values (${session}, '', 0, ${`${writer.owner}@${host}`}, ${host}, 0, 'CouchDB', '["token"]', '{"cpus":0,"memory":0,"gpus":0,"named":{}}', '{}',
      ${JSON.stringify([writer.projectId])}, ${db.now}, ${db.now}, ${until}, 'alive')
    on conflict (session_id) do update set state = 'alive', seen_at = ${db.now},
      lease_until = case when workers.lease_until > ${until} then workers.lease_until else ${until} end`);
  return session;
}

/** Whether a client of the CouchDB face holds it, not a worker of ours. */
export function isHeldByClient(task: { readonly session_id: string | null }): boolean {
  return task.session_id?.startsWith('couchdb-') === true;
}

function hostOf(fields: Fields): string {
  const { hostname: told } = fields;
  return typeof told === 'string' && told !== '' ? told.slice(0, 255) : 'unknown';
}
