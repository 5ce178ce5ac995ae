import { randomBytes } from 'node:crypto';
import type { Log } from '../../ground/base/log.ts';
import { type Access, createAccess, newSecret } from '../../server/access/access.ts';
import { type Audit, createAudit } from '../../server/access/audit.ts';
import { createUsers, type Users } from '../../server/access/users.ts';
import type { Store } from '../../server/store/store.ts';
import type { ServerFiles } from './server-files.ts';

export interface Doors {
  readonly access: Access;
  readonly users: Users;
  readonly audit: Audit;
}

const FIRST = 'admin';

/** Who is let in, and what is written down of it. The first start makes an administrator and the token of the data directory. */
export async function openAccess(store: Store, files: ServerFiles, log: Log): Promise<Doors> {
  const monotonicMs = () => performance.now();
  const audit = createAudit(store, (error) => log.error({ err: error }, 'what was refused could not be written down'));
  const access = createAccess(store, monotonicMs);
  const users = createUsers(store, monotonicMs, {
    onFailure: (name, address) => audit.refused({ name: name ?? '(nobody)', how: 'password', address }, 'login', ''),
  });
  await access.adopt(files.adminToken(newSecret), FIRST);
  const first = await store.firstAdministrator({ name: FIRST, hash: randomBytes(16).toString('hex') });
  if (first === 'taken')
    log.warn(
      {},
      `no user is an administrator, because clients of CouchDB have an '${FIRST}' already: the token of the data directory can make one, with 'pilotage user role NAME administrator'`,
    );
  return { access, users, audit };
}
