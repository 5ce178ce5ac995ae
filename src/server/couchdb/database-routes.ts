import type { Database } from '../pool/documents.ts';
import { allDocs } from './all-docs.ts';
import { deleteAttachment, getAttachment, putAttachment } from './attachments.ts';
import { bulkDocuments, bulkGet, revsDiff } from './bulk.ts';
import { changesFeed } from './changes-feed.ts';
import { CouchError, notFound } from './couch-error.ts';
import { createDatabase, databaseInfo, deleteDatabase, getSecurity, openDatabase, putSecurity } from './databases.ts';
import { copyDocument, deleteDocument, getDocument, putDocument } from './documents.ts';
import type { House } from './house.ts';
import { checkId } from './read-document.ts';
import { type CouchCall, sendJson } from './request.ts';
import { notAllowed } from './users-database.ts';
import { findBySelector, findDesign, queryView } from './view.ts';
import { requireAdminOf, requireGrantor, requireMember } from './visitors.ts';

/** `/db` and everything below it. Who may not enter learns nothing of what is there. */
export async function databaseRoute(house: House, call: CouchCall) {
  const [name = '', ...rest] = call.path;
  if (rest.length === 0 && call.method === 'PUT') return createDatabase(house, call, name);
  const database = await openDatabase(house, name);
  const writes =
    ['PUT', 'POST', 'DELETE', 'COPY'].includes(call.method) && !READING_POSTS.has(rest[0] ?? '') && rest[2] !== '_view';
  requireMember(call.visitor, database, writes ? 'write' : 'read');
  const [first] = rest;
  if (first === undefined) return wholeDatabase(house, call, database);
  if (first === '_design') return designRoute(house, call, database, rest.slice(1));
  if (first === '_local') throw notFound('Local documents are not kept here.');
  if (first.startsWith('_') && !first.startsWith('_design/')) return specialRoute(house, call, database, first);
  if (first.startsWith('_design/'))
    return designRoute(house, call, database, [first.slice('_design/'.length), ...rest.slice(1)]);
  return documentRoute(house, call, database, first, rest.slice(1));
}

/** Posts that only ask. */
const READING_POSTS = new Set([
  '_all_docs',
  '_design_docs',
  '_find',
  '_changes',
  '_bulk_get',
  '_revs_diff',
  '_missing_revs',
]);

async function wholeDatabase(house: House, call: CouchCall, database: Database) {
  switch (call.method) {
    case 'GET':
    case 'HEAD':
      return databaseInfo(house, call, database);
    case 'POST':
      return putDocument(house, call, database, null);
    case 'DELETE':
      return deleteDatabase(house, call, database);
    default:
      throw notAllowed('DELETE,GET,HEAD,POST');
  }
}

async function specialRoute(house: House, call: CouchCall, database: Database, name: string) {
  const only = (...methods: string[]) => {
    if (!methods.includes(call.method)) throw notAllowed(methods.join(','));
  };
  switch (name) {
    case '_all_docs':
    case '_design_docs':
      only('GET', 'HEAD', 'POST');
      return allDocs(house, call, database, name === '_all_docs' ? 'all' : 'design');
    case '_local_docs':
      return sendJson(call, 200, { total_rows: 0, offset: 0, rows: [] });
    case '_bulk_docs':
      only('POST');
      return bulkDocuments(house, call, database);
    case '_bulk_get':
      only('POST');
      return bulkGet(house, call, database);
    case '_revs_diff':
    case '_missing_revs':
      only('POST');
      return revsDiff(house, call, database, name === '_revs_diff' ? 'diff' : 'missing');
    case '_find':
      only('POST');
      return findBySelector(house, call, database);
    case '_changes':
      only('GET', 'HEAD', 'POST');
      return changesFeed(house, call, database);
    case '_security':
      if (call.method === 'GET' || call.method === 'HEAD') return getSecurity(call, database);
      requireGrantor(call.visitor, database);
      return putSecurity(house, call, database);
    case '_ensure_full_commit':
      return sendJson(call, 201, { ok: true, instance_start_time: '0' });
    case '_compact':
    case '_view_cleanup':
      requireAdminOf(call.visitor, database);
      return sendJson(call, 202, { ok: true });
    case '_revs_limit':
      return sendJson(call, 200, 1);
    case '_temp_view':
      throw new CouchError(410, 'gone', 'Temporary views are not supported in CouchDB');
    case '_index':
      if (call.method === 'GET')
        return sendJson(call, 200, {
          total_rows: 1,
          indexes: [{ ddoc: null, name: '_all_docs', type: 'special', def: { fields: [{ _id: 'asc' }] } }],
        });
      throw new CouchError(501, 'not_implemented', 'selectors need no index here: send them to _find as they are');
    case '_explain':
    case '_purge':
      throw new CouchError(501, 'not_implemented', `${name} is not offered here`);
    default:
      throw notFound(`there is no '${name}' in a database`);
  }
}

async function designRoute(house: House, call: CouchCall, database: Database, rest: readonly string[]) {
  const [name = '', what, view, ...more] = rest;
  if (what === '_view' && view !== undefined && more.length === 0) {
    if (!['GET', 'HEAD', 'POST'].includes(call.method)) throw notAllowed('GET,HEAD,POST');
    return queryView(house, call, database, name, view);
  }
  if (what === '_info') {
    const design = await findDesign(house, database, name);
    const language = design.language ?? 'javascript';
    return sendJson(call, 200, {
      name,
      view_index: {
        language,
        updater_running: false,
        compact_running: false,
        waiting_commit: false,
        waiting_clients: 0,
        sizes: { file: 0, external: 0, active: 0 },
      },
    });
  }
  if (what !== undefined && /^_(show|list|update|rewrite|search|nouveau)/.test(what))
    throw new CouchError(501, 'not_implemented', `${what} functions of design documents are not run here, only views`);
  return documentRoute(house, call, database, `_design/${name}`, rest.slice(1));
}

async function documentRoute(house: House, call: CouchCall, database: Database, id: string, rest: readonly string[]) {
  checkId(id);
  if (rest.length > 0) return attachmentRoute(house, call, database, id, rest.join('/'));
  switch (call.method) {
    case 'GET':
    case 'HEAD':
      return getDocument(house, call, database, id);
    case 'PUT':
      return putDocument(house, call, database, id);
    case 'DELETE':
      return deleteDocument(house, call, database, id);
    case 'COPY':
      return copyDocument(house, call, database, id);
    default:
      throw notAllowed('DELETE,GET,HEAD,PUT,COPY');
  }
}

async function attachmentRoute(house: House, call: CouchCall, database: Database, id: string, name: string) {
  switch (call.method) {
    case 'GET':
    case 'HEAD':
      return getAttachment(house, call, database, id, name);
    case 'PUT':
      return putAttachment(house, call, database, id, name);
    case 'DELETE':
      return deleteAttachment(house, call, database, id, name);
    default:
      throw notAllowed('DELETE,GET,HEAD,PUT');
  }
}
