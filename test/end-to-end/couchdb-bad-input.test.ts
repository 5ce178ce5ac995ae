import { request } from 'node:http';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type PicasPool, startPicasPool } from '../support/picas.ts';

let pool: PicasPool;
let db: string;
beforeAll(async () => {
  pool = await startPicasPool();
  db = `/${pool.database}`;
});
afterAll(async () => {
  // Whatever came in: the server is there, and did not fail once.
  expect((await pool.ask('GET /_up')).status).toBe(200);
  await pool[Symbol.asyncDispose]();
});

const JSON_TYPE = { 'content-type': 'application/json' };

describe('what makes no sense is refused in words, and stores nothing', () => {
  test.each<[string, string, unknown, number, string, string]>([
    ['a revision that is none', 'PUT x', { _rev: 'rubbish' }, 400, 'bad_request', 'Invalid rev'],
    ['a revision that is a number', 'PUT x', { _rev: 7 }, 400, 'bad_request', 'Invalid rev'],
    ['a revision of nothing', 'PUT x', { _rev: '3-aaaa' }, 409, 'conflict', 'conflict'],
    ['a revision in the address', 'PUT x?rev=1-%00', {}, 400, 'bad_request', 'Invalid rev'],
    ['a revision to delete', 'DELETE x?rev=0-0', undefined, 400, 'bad_request', 'Invalid rev'],
    ['a number as id', 'POST ', { _id: 5 }, 400, 'illegal_docid', 'must be a string'],
    ['a list as id', '_bulk_docs', { docs: [{ _id: ['a'] }] }, 400, 'illegal_docid', 'must be a string'],
    ['an empty id', 'POST ', { _id: '' }, 400, 'illegal_docid', 'empty'],
    ['an id of its own kind', 'PUT _mine', {}, 404, 'not_found', '_mine'],
    ['such an id in a body', 'POST ', { _id: '_mine' }, 400, 'illegal_docid', 'underscore'],
    ['a local document', 'PUT _local/x', {}, 404, 'not_found', 'Local'],
    ['a design document without a name', 'POST ', { _id: '_design/' }, 400, 'illegal_docid', 'underscore'],
    ['NUL in an id', 'POST ', { _id: 'a\0b' }, 400, 'illegal_docid', 'NUL'],
    ['NUL in an address', 'PUT a%00b', {}, 400, 'illegal_docid', 'NUL'],
    ['an id of 5000 bytes', 'POST ', { _id: 'x'.repeat(5000) }, 400, 'illegal_docid', 'too long'],
    ['an id that is not the one of the address', 'PUT x', { _id: 'y' }, 400, 'bad_request', 'differ'],
    ['an address that is no text', 'GET %ff', undefined, 400, '', ''],
    ['a member of the server’s own', 'PUT x', { _secret: 1 }, 400, 'doc_validation', '_secret'],
    ['a list as a document', 'PUT x', [1, 2], 400, 'bad_request', 'JSON object'],
    ['a text as a document', 'PUT x', '"text"', 400, 'bad_request', 'JSON object'],
    ['half a document', 'PUT x', '{"lock": 0', 400, 'bad_request', 'JSON'],
    ['nothing', 'PUT x', '', 400, 'bad_request', 'empty'],
    ['bytes that are no text', 'PUT x', '\u0001\u0002{', 400, 'bad_request', 'JSON'],
    ['attachments that are a list', 'PUT x', { _attachments: [] }, 400, 'bad_request', '_attachments'],
    ['an attachment that is no base64', 'PUT x', { _attachments: { a: { data: '§' } } }, 400, 'bad_request', 'base64'],
    ['an attachment without data', 'PUT x', { _attachments: { a: {} } }, 400, 'bad_request', 'data'],
    ['a bulk without documents', '_bulk_docs', {}, 400, 'bad_request', 'docs'],
    ['a bulk of other things', '_bulk_docs', { docs: [1] }, 400, 'bad_request', 'JSON object'],
    [
      'a bulk with one bad id',
      '_bulk_docs',
      { docs: [{ _id: 'ok' }, { _id: '_no' }] },
      400,
      'illegal_docid',
      'underscore',
    ],
    ['a security that is no object', 'PUT _security', [], 400, 'bad_request', 'object'],
    ['members that are no list', 'PUT _security', { members: { names: 'me' } }, 400, 'bad_request', 'list'],
    ['a limit below zero', 'GET _all_docs?limit=-1', undefined, 400, 'query_parse_error', 'limit'],
    ['a key that is no JSON', 'GET _design/Monitor/_view/todo?key=a', undefined, 400, 'bad_request', 'key'],
    [
      'a flag that is none',
      'GET _design/Monitor/_view/todo?descending=yes',
      undefined,
      400,
      'query_parse_error',
      'yes',
    ],
    ['a selector that is none', 'POST _find', { selector: 5 }, 400, 'bad_request', 'selector'],
    ['changes since never', 'GET _changes?since=yesterday', undefined, 400, 'bad_request', 'since'],
    ['ids that are half a list', 'GET _changes?filter=_doc_ids&doc_ids=[1', undefined, 400, 'bad_request', 'doc_ids'],
    ['an unknown method', 'PATCH x', {}, 405, 'method_not_allowed', 'allowed'],
  ])('%s', async (_what, request, body, status, error, hint) => {
    const before = (await pool.ask(`GET ${db}`)).json.doc_count;
    const [method = '', where = ''] = request.startsWith('_bulk') ? ['POST', request] : request.split(' ');
    const answer = await pool.ask(`${method} ${db}/${where}`.replace(/\/$/, ''), { body });
    expect([answer.status, answer.json?.error ?? '']).toEqual([status, error === '' ? expect.anything() : error]);
    if (hint !== '') expect(answer.json.reason).toContain(hint);
    expect((await pool.ask(`GET ${db}`)).json.doc_count).toBe(before);
  });

  test('what is posted with another content type, as a form of a foreign page could', async () => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded']) {
      const answer = await pool.ask(`POST ${db}/_bulk_docs`, {
        body: '{"docs":[]}',
        headers: { 'content-type': type },
      });
      expect([answer.status, answer.json.error]).toEqual([415, 'bad_content_type']);
    }
  });

  test('what comes packed would be stored as rubbish: it is refused', async () => {
    const packed = gzipSync('{"docs":[]}');
    for (const [request, type] of [
      ['POST /_bulk_docs', 'application/json'],
      ['PUT /x', 'application/json'],
      ['PUT /x/log.txt', 'text/plain'],
    ] as const) {
      const headers = { 'content-type': type, 'content-encoding': 'gzip' };
      const answer = await pool.ask(request.replace(' ', ` ${db}`), { body: packed, headers });
      expect([answer.status, answer.json.error]).toEqual([415, 'bad_content_type']);
      expect(answer.json.reason).toContain('gzip');
    }
    expect((await pool.ask(`GET ${db}/x`)).status).toBe(404);
  });

  test('a content type that is none is told as such, not as a fault of the server', async () => {
    const answer = await pool.ask(`POST ${db}`, { body: '{"a":1}', headers: { 'content-type': '' } });
    expect([answer.status, answer.json.error]).toEqual([415, 'bad_content_type']);
  });

  test('a document that nests deeply', async () => {
    for (const depth of [600, 100_000]) {
      const body = `{"deep":${'['.repeat(depth)}${']'.repeat(depth)}}`;
      const answer = await pool.ask(`PUT ${db}/deep`, { body });
      expect([answer.status, answer.json.error]).toEqual([400, 'bad_request']);
    }
    const fine = await pool.ask(`PUT ${db}/deep`, { body: `{"deep":${'['.repeat(400)}${']'.repeat(400)}}` });
    expect(fine.status).toBe(201);
    expect((await pool.ask(`GET ${db}/deep`)).text).toContain('['.repeat(400));
  });

  test('a document over 8 MB; what is larger goes into an attachment', async () => {
    const answer = await pool.ask(`PUT ${db}/large`, { body: { text: 'x'.repeat(8_100_000) } });
    expect([answer.status, answer.json.error]).toEqual([413, 'document_too_large']);
    expect(answer.json.reason).toContain('attachment');
    const data = Buffer.alloc(10_000_000, 'y').toString('base64');
    expect((await pool.ask(`PUT ${db}/large`, { body: { _attachments: { a: { data } } } })).status).toBe(201);
    expect((await pool.ask(`GET ${db}/large`)).json._attachments.a.length).toBe(10_000_000);
  });

  test('a bulk over 64 MiB, to the end of which the client is listened to', async () => {
    const docs = Array.from({ length: 70 }, (_, i) => ({ _id: `huge-${i}`, text: 'x'.repeat(1_000_000) }));
    const answer = await pool.ask(`POST ${db}/_bulk_docs`, { body: { docs } });
    expect([answer.status, answer.json.error]).toEqual([413, 'too_large']);
    expect(answer.json.reason).toContain('64 MiB');
    expect((await pool.ask(`GET ${db}/huge-0`)).status).toBe(404);
  });

  test('a bulk of a million documents is refused or done, and others are served meanwhile', async () => {
    const body = `{"docs":[${Array.from({ length: 1_000_000 }, (_, i) => `{"_id":"m${i}","n":${i}}`).join(',')}]}`;
    let isOver = false;
    const bulk = pool.ask(`POST ${db}/_bulk_docs`, { body }).finally(() => {
      isOver = true;
    });
    let slowest = 0;
    let asked = 0;
    while (!isOver) {
      const since = performance.now();
      expect((await pool.ask(`GET ${db}/deep`)).status).toBe(200);
      slowest = Math.max(slowest, performance.now() - since);
      asked += 1;
    }
    const answer = await bulk;
    expect([answer.status, answer.json.length ?? answer.json.error]).toEqual(
      answer.status === 201 ? [201, 1_000_000] : [413, 'too_large'],
    );
    expect(asked).toBeGreaterThan(100);
    expect(slowest).toBeLessThan(5000);
  }, 300_000);
});

test('a request that ends before its length is over is let go, and told to nobody as a fault', async () => {
  const { hostname, port } = new URL(pool.url);
  const login = Buffer.from(`${pool.user}:${pool.password}`).toString('base64');
  const headers = { ...JSON_TYPE, authorization: `Basic ${login}`, 'content-length': '1000' };
  const broken = request({ hostname, port, method: 'PUT', path: `${db}/half`, headers });
  await new Promise((resolve) => {
    broken.on('error', resolve);
    broken.write('{"half":', () => broken.destroy(new Error('enough')));
  });
  expect((await pool.ask(`GET ${db}/half`)).status).toBe(404);
});
