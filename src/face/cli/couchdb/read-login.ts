import { PilotageError } from '../../../ground/base/errors.ts';
import { readSecretFile } from '../secret-file.ts';

/** `NAME:PASSWORD`, or the lines of a picasconfig.py. The file must be its owner's alone. */
export function readLogin(file: string): { user: string; password: string } {
  const text = readSecretFile(file, 'login');
  const user = /^\s*PICAS_USERNAME\s*=\s*(["'])(.*)\1/m.exec(text)?.[2];
  const password = /^\s*PICAS_PASSWORD\s*=\s*(["'])(.*)\1/m.exec(text)?.[2];
  if (user !== undefined && password !== undefined) return { user, password };
  const colon = text.indexOf(':');
  if (colon > 0 && !text.includes('\n')) return { user: text.slice(0, colon), password: text.slice(colon + 1) };
  throw new PilotageError(
    'bad-request',
    `'${file}' holds neither NAME:PASSWORD in one line nor PICAS_USERNAME and PICAS_PASSWORD`,
  );
}
