import { PilotageError } from '../../ground/base/errors.ts';
import type { BatchName } from './scheduler.ts';

/** Letters that every batch system takes in a name, also as a filter and in a file's name; not a digit first (qsub). */
const NAME = /^pilotage-[A-Za-z0-9._-]{1,51}$/;

export function batchName(suffix: string): BatchName {
  const name = `pilotage-${suffix}`;
  if (isBatchName(name)) return name;
  throw new PilotageError(
    'bad-request',
    `${JSON.stringify(name)} cannot be a batch job's name: 10 to 60 characters of A-Z, a-z, 0-9, '.', '_' and '-'`,
  );
}

export function isBatchName(text: string): text is BatchName {
  return NAME.test(text);
}
