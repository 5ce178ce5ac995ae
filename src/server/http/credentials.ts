import { randomBytes } from 'node:crypto';
import type { ProjectCredentials } from '../../ground/protocol/project.ts';
import type { Audit } from '../access/audit.ts';
import type { Principal } from '../access/principal.ts';
import type { Users } from '../access/users.ts';
import type { Pool } from '../pool/pool.ts';

/** Where clients of CouchDB come in, and who they are. */
export interface CouchdbDoor {
  readonly users: Users;
  readonly audit: Audit;
  /** Known once the server listens. */
  where(): Pick<ProjectCredentials, 'ports' | 'certificate'>;
}

/** The project's own user, with a password that is new each time: who has the old one is out. */
export async function makeCredentials(
  pool: Pool,
  couchdb: CouchdbDoor,
  who: Principal,
  project: string,
): Promise<ProjectCredentials> {
  const { user, letIn } = await pool.projectUser(who, project);
  const password = randomBytes(18).toString('base64url');
  await couchdb.users.setPassword(user, password);
  await letIn();
  await couchdb.audit.note(who, 'project.credentials', project, { user });
  return { database: project, user, password, ...couchdb.where() };
}
