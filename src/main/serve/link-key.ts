import { hash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { ServeOptions } from '../../face/cli/context.ts';
import type { Log } from '../../ground/base/log.ts';
import type { Store } from '../../server/store/store.ts';
import type { ServerFiles } from './server-files.ts';

export interface LinkKeyParts {
  readonly options: Pick<ServeOptions, 'data' | 'newLinkKey'>;
  readonly store: Store;
  readonly files: ServerFiles;
  readonly log: Log;
}

/**
 * The key of secret links: the same for all servers of one database, which holds nothing but its hash. A server with
 * another one works, and the links that it tells when a job is added open everywhere; those that it makes again, for a
 * mail say, open here only.
 */
export async function linkKey({ options, store, files, log }: LinkKeyParts): Promise<string> {
  const key = files.linkKey(() => randomBytes(32).toString('base64url'));
  const own = hash('sha256', key);
  const agreed = await store.agreeOn({ name: 'link-key', value: own, isNew: options.newLinkKey === true });
  if (agreed !== own)
    log.warn(
      {},
      `other servers of this database make secret links of jobs from another key: links in mails from here, and in what 'job show' says here, open at this server only. Copy 'link-key' from the data directory of another server to '${join(options.data, 'link-key')}' (mode 0600) and start again; if it is lost, start once with --new-link-key`,
    );
  return key;
}
