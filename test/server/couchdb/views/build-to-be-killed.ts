/** Builds an index until it is killed; started by upkeep.test.ts with the directory. */
import { openViews } from '../../../../src/server/couchdb/views/open-views.ts';
import { numbered } from './numbered-documents.ts';

const nothing = (): void => undefined;
const views = await openViews({
  directory: process.argv[2] ?? '',
  readChanges: numbered,
  log: { debug: nothing, info: nothing, warn: nothing, error: nothing },
});
process.stdout.write('begins\n');
await views.query(
  'db',
  { id: '_design/test', language: 'javascript', views: { v: { map: 'function(doc) { emit(doc._id, doc.n) }' } } },
  'v',
  { limit: 0 },
);
await views.close();
