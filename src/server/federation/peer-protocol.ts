import { PilotageError } from '../../ground/base/errors.ts';

/** Raised when neighbours of two versions no longer understand each other. */
export const PEER_PROTOCOL = 1;

export function incompatible(theirs: string, ours: string): PilotageError {
  return new PilotageError(
    'incompatible-version',
    `Pilotage ${theirs} there and Pilotage ${ours} here do not understand each other as neighbours: install the same version on both`,
  );
}
