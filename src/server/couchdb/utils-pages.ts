import { type Database, findDatabase, listDocuments } from '../pool/documents.ts';
import { fieldsOf } from '../store/document-rows.ts';
import { CouchError, notFound } from './couch-error.ts';
import { openDatabase } from './databases.ts';
import type { House } from './house.ts';
import type { CouchCall } from './request.ts';
import { wholeNumber } from './request.ts';
import { findDesign } from './view.ts';
import { mayRead, refused, requireMember } from './visitors.ts';

const PAGE = 100;

/**
 * `/_utils`: where people of CouchDB look with a browser. Databases, how many tokens are in which state, the rows of
 * each view, and links to the documents as they are. Made by the server, without a script.
 */
export async function utilsPages(house: House, call: CouchCall) {
  if (call.method !== 'GET' && call.method !== 'HEAD')
    throw new CouchError(405, 'method_not_allowed', 'Only GET,HEAD allowed');
  if (call.visitor.name === null) throw refused(call.visitor, 'You are not allowed to list databases.');
  const [, name, design, view, ...more] = call.path;
  if (name === undefined) return send(call, 'Databases', await databasesPage(house, call));
  const database = await openDatabase(house, name);
  requireMember(call.visitor, database, 'read');
  if (design === undefined) return send(call, name, await databasePage(house, call, database));
  if (view === undefined || more.length > 0) throw notFound('there is no such page');
  return send(call, `${name}: ${design}/${view}`, await viewPage(house, call, database, { design, view }));
}

async function databasesPage(house: House, call: CouchCall): Promise<string> {
  const names: string[] = [];
  for (const { name } of await house.parts.store.listProjects()) {
    const database = await findDatabase(house.parts, name);
    if (database && mayRead(call.visitor, database)) names.push(name);
  }
  return `<ul>${names.map((name) => `<li>${link(call, ['_utils', name], name)}</li>`).join('')}</ul>`;
}

async function databasePage(house: House, call: CouchCall, database: Database): Promise<string> {
  const { documents } = await house.parts.store.databaseFacts({ projectId: database.id });
  const designs = await listDocuments(house.parts, database, {
    ...{ from: '_design/', fromIncluded: true, to: '_design0', toIncluded: false },
    ...{ descending: false, limit: PAGE },
  });
  const lists = designs.map((row) => {
    const name = row.id.slice('_design/'.length);
    const { views } = fieldsOf(row) as { views?: Record<string, { reduce?: string }> };
    const rows = Object.keys(views ?? {}).filter((view) => view !== 'lib');
    return `<h2>${link(call, [database.name, row.id], name)}</h2><ul>${rows.map((view) => `<li>${link(call, ['_utils', database.name, name, view], view)}</li>`).join('')}</ul>`;
  });
  const all = link(call, [database.name, '_all_docs'], 'all documents');
  return `<p>${documents} documents (${all})</p>${await statesTable(house, database)}${lists.join('')}`;
}

/** Empty where somebody changed the standard views. */
async function statesTable(house: House, database: Database): Promise<string> {
  try {
    const design = await findDesign(house, database, 'Monitor');
    const { rows } = await house.views.query(String(database.id), design, 'overview_total', { group: true });
    const cells = rows.map(({ key, value }) => `<tr><th scope="row">${text(key)}</th><td>${text(value)}</td></tr>`);
    return `<table><caption>Tokens</caption><tbody>${cells.join('')}</tbody></table>`;
  } catch (error) {
    house.log.debug({ err: error, database: database.name }, 'the states of tokens could not be counted');
    return '';
  }
}

async function viewPage(
  house: House,
  call: CouchCall,
  database: Database,
  { design, view }: { design: string; view: string },
): Promise<string> {
  const skip = wholeNumber(call.query, 'skip') ?? 0;
  const found = await findDesign(house, database, design);
  if (!Object.hasOwn(found.views, view)) throw notFound('missing_named_view');
  const query = { reduce: false, limit: PAGE, skip };
  const { rows } = await house.views.query(String(database.id), found, view, query, call.request.life.ends);
  const lines = rows.map((row) => {
    const id = 'id' in row ? row.id : '';
    return `<tr><td>${link(call, [database.name, id], id)}</td><td>${text(row.key)}</td><td>${text(row.value)}</td></tr>`;
  });
  const at = ['_utils', database.name, design, view];
  const before = skip > 0 ? link(call, at, 'before', `?skip=${Math.max(0, skip - PAGE)}`) : '';
  const after = rows.length === PAGE ? link(call, at, 'after', `?skip=${skip + PAGE}`) : '';
  return `<p>${link(call, ['_utils', database.name], 'back')} ${before} ${after}</p>
<table><thead><tr><th scope="col">document</th><th scope="col">key</th><th scope="col">value</th></tr></thead><tbody>${lines.join('')}</tbody></table>`;
}

function link(call: CouchCall, parts: readonly string[], shown: string, query = ''): string {
  const address = [call.prefix, ...parts.map(encodeURIComponent)].join('/');
  return `<a href="${asHtml(address + query)}">${asHtml(shown)}</a>`;
}

function text(value: unknown): string {
  const shown = typeof value === 'string' ? value : JSON.stringify(value);
  return asHtml(shown.length > 200 ? `${shown.slice(0, 200)}…` : shown);
}

function asHtml(raw: string): string {
  return raw.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

function send(call: CouchCall, title: string, body: string) {
  const page = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${asHtml(title)}</title></head>
<body><h1>${asHtml(title)}</h1>
${body}
</body></html>
`;
  return call.reply
    .code(200)
    .headers({
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
    })
    .send(Buffer.from(page));
}
