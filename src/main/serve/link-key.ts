import { hash, randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ServeOptions } from '../../face/cli/context.ts';
import { PilotageError } from '../../ground/base/errors.ts';
import type { Store } from '../../server/store/store.ts';
import type { ServerFiles } from './server-files.ts';

/** The key of secret links: the same for all servers of one database, which holds nothing but its hash. */
export async function linkKey({ data, newLinkKey }: ServeOptions, store: Store, files: ServerFiles): Promise<string> {
  let isMade = false;
  const key = files.linkKey(() => {
    isMade = true;
    return randomBytes(32).toString('base64url');
  });
  const own = hash('sha256', key);
  if ((await store.agreeOn({ name: 'link-key', value: own, isNew: newLinkKey === true })) === own) return key;
  const file = join(data, 'link-key');
  // Not kept: the right one is to be put there.
  if (isMade) rmSync(file, { force: true });
  throw new PilotageError(
    'wrong-state',
    `the key that secret links of jobs are made from is ${isMade ? 'missing' : 'another one'} here: copy 'link-key' from the data directory of another server of this database to '${file}' (mode 0600). If it is lost, start once with --new-link-key: links that were told stay good`,
  );
}
