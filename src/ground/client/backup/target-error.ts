import { messageOf, PilotageError, systemCode } from '../../base/errors.ts';

const FULL = ['ENOSPC', 'EDQUOT'];
const REFUSED = ['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST', 'EIO', 'ENOENT'];

/** What went wrong with the place where a copy goes, in words that say what is left there. */
export function toTargetError(error: unknown, target: string, then: string): unknown {
  if (error instanceof PilotageError) return error;
  const code = systemCode(error) ?? '';
  if (FULL.includes(code))
    return new PilotageError(
      'not-written',
      `the disk of '${target}' is full: what is there is not whole and does not count; ${then}`,
      { cause: error },
    );
  if (REFUSED.includes(code))
    return new PilotageError(
      'not-written',
      `'${target}' cannot be written (${messageOf(error)}): what is there is not whole and does not count; ${then}`,
      { cause: error },
    );
  return error;
}
