import { PilotageError } from '../../ground/base/errors.ts';
import { CouchError } from './couch-error.ts';
import { openDatabase } from './databases.ts';
import type { House } from './house.ts';
import type { CouchCall } from './request.ts';
import { identifyAgain, requireMember } from './visitors.ts';

/** Whether the visitor of a request that is open may still read its database: undefined, or what a new one would be told. */
export async function standing(house: House, { visitor, request, path }: CouchCall): Promise<Error | undefined> {
  const [name] = path;
  try {
    const now = await identifyAgain(house.door, visitor, request);
    if (name !== undefined && !name.startsWith('_')) requireMember(now, await openDatabase(house, name), 'read');
    return undefined;
  } catch (error) {
    if (error instanceof CouchError || (error instanceof PilotageError && error.code === 'unauthenticated'))
      return error;
    throw error;
  }
}
