/** Backups, exports and imports. */
import type { Readable } from 'node:stream';
import { giveBackWhenSent } from '../../ground/content/give-back.ts';
import type { Copies } from '../backup/copies.ts';
import type { Imports } from '../backup/imports.ts';
import type { Handlers } from '../web/handlers.ts';
import { sendBytes } from './send-bytes.ts';

export type CopyHandlers = Pick<
  Handlers,
  | 'startBackup'
  | 'startExport'
  | 'copyDatabase'
  | 'copyBlob'
  | 'copyIdentity'
  | 'endCopy'
  | 'startImport'
  | 'importRows'
  | 'endImport'
>;

export function copyHandlers(copies: Copies, imports: Imports): CopyHandlers {
  return {
    startBackup: ({ who }) => copies.startBackup(who),
    startExport: ({ who, params }) => copies.startExport(who, params.project),
    copyDatabase: async ({ who, params, reply }) => {
      const lines = await copies.database(who, params.id);
      giveBackWhenSent(lines, reply.raw);
      return reply.type('application/x-ndjson').send(lines);
    },
    copyBlob: ({ who, params, request, reply }) =>
      sendBytes(reply, request, (start) => copies.blob(who, params.id, params.digest, start)),
    copyIdentity: async ({ who, params, reply }) => {
      reply.header('cache-control', 'no-store');
      return { files: await copies.identity(who, params.id) };
    },
    endCopy: async ({ who, params, reply }) => {
      await copies.end(who, params.id);
      return reply.code(204).send();
    },
    startImport: ({ who, body }) => imports.start(who, body),
    importRows: ({ who, params, query, request }) =>
      imports.rows(who, { ...params, ...query }, request.body as Readable),
    endImport: async ({ who, params, reply }) => {
      await imports.end(who, params.id);
      return reply.code(204).send();
    },
  };
}
