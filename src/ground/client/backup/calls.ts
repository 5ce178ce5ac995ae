import { bareOf } from '../../protocol/bare.ts';
import type { Routes } from '../../protocol/routes.ts';

const bare = bareOf<Routes>();

/** The calls of backups, exports and imports, without their schemas. A test holds this table equal to the one in `routes.ts`. */
export const backupCalls = {
  startBackup: bare<'startBackup'>('POST', '/backups'),
  startExport: bare<'startExport'>('POST', '/projects/:project/exports'),
  copyDatabase: bare<'copyDatabase'>('GET', '/copies/:id/database'),
  copyBlob: bare<'copyBlob'>('GET', '/copies/:id/blobs/:digest'),
  copyIdentity: bare<'copyIdentity'>('GET', '/copies/:id/identity'),
  endCopy: bare<'endCopy'>('DELETE', '/copies/:id'),
  startImport: bare<'startImport'>('POST', '/imports'),
  importRows: bare<'importRows'>('PUT', '/imports/:id/rows'),
  endImport: bare<'endImport'>('DELETE', '/imports/:id'),
};
