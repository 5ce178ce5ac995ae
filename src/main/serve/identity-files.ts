import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../../ground/base/errors.ts';

/** What a server is known by: whoever has these files is it. */
export const IDENTITY_FILES = [
  'admin-token',
  'link-key',
  'port',
  'tls-cert.pem',
  'tls-key.pem',
  'peer-cert.pem',
  'peer-key.pem',
] as const;

/** Those of a data directory that are there. */
export async function readIdentity(directory: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const name of IDENTITY_FILES) {
    try {
      found[name] = await readFile(join(directory, name), 'utf8');
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
    }
  }
  return found;
}
