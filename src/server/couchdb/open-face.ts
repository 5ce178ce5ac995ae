import type { Log } from '../../ground/base/log.ts';
import type { Access } from '../access/access.ts';
import type { Users } from '../access/users.ts';
import { createChanges } from '../pool/changes.ts';
import type { Parts } from '../pool/parts.ts';
import type { Pool } from '../pool/pool.ts';
import { textOf } from '../store/document-rows.ts';
import type { House } from './house.ts';
import { createSessions } from './sessions.ts';
import { openViews } from './views/open-views.ts';
import type { Views } from './views/views.ts';

export interface FaceOptions {
  readonly parts: Parts;
  readonly pool: Pool;
  readonly access: Access;
  readonly users: Users;
  /** Where the indexes of views are kept. */
  readonly directory: string;
  readonly log: Log;
}

export interface Face {
  readonly house: House;
  close(): Promise<void>;
}

/** Views are opened with the first query: a server whose users know nothing of them does without. */
export function openFace({ parts, pool, access, users, directory, log }: FaceOptions): Face {
  const changes = createChanges(parts);
  const accessOf = async (name: string) => {
    const enters = await parts.store.accessOfUser({ name });
    const owns = (await parts.store.listProjects()).filter(({ owner }) => owner === name).map((row) => row.name);
    return { owns, enters: Array.isArray(enters) ? enters : [] };
  };
  const door = { access, users, accessOf, sessions: createSessions(users, accessOf, Date.now) };
  let opened: Promise<Views> | undefined;
  const open = () => {
    opened ??= openViews({
      directory,
      log,
      readChanges: async (database, after) => {
        const page = await changes.read(Number(database), after);
        return {
          changes: page.changes.map(({ row }) => ({ id: row.id, json: row.deleted === 0 ? textOf(row) : null })),
          position: page.position,
          more: page.more,
          at: page.at,
          newest: page.newest,
        };
      },
    });
    return opened;
  };
  const views: Views = {
    query: async (...given) => (await open()).query(...given),
    find: async (...given) => (await open()).find(...given),
    forget: async (database) => (await open()).forget(database),
    close: async () => {
      if (opened) await (await opened).close();
    },
  };
  return { house: { parts, pool, door, views, changes, furnished: new Set(), log }, close: () => views.close() };
}
