import { Readable } from 'node:stream';
import { isPosition } from '../pool/changes.ts';
import { type Database, documentTopic } from '../pool/documents.ts';
import { ANY_SUBMISSION } from '../pool/signals.ts';
import type { DocumentRow } from '../store/document-rows.ts';
import { badRequest, CouchError } from './couch-error.ts';
import type { House } from './house.ts';
import { asObject, type CouchCall, flag, jsonParameter, readJson, sendJson, wholeNumber } from './request.ts';
import { revOf, showDocument } from './show-document.ts';

interface Wanted {
  readonly since: string;
  readonly limit: number;
  readonly includeDocs: boolean;
  readonly descending: boolean;
  readonly ids: ReadonlySet<string> | null;
  readonly designOnly: boolean;
  readonly timeoutMs: number;
  readonly heartbeatMs: number | null;
}

const DEFAULT_TIMEOUT_MS = 60_000;
const PAGE = 1000;
/** A lost note is made up for by looking. */
const LOOK_MS = 1000;
/** Tasks of all projects are told of alike: a server that ends thousands of them a second looks so often at most. */
const REST_MS = 100;

/** GET and POST /db/_changes: normal, longpoll and continuous (also as an event stream). */
export async function changesFeed(house: House, call: CouchCall, database: Database) {
  const feed = call.query.get('feed') ?? 'normal';
  const wanted = await readWanted(house, call, database);
  if (call.method === 'HEAD') return sendJson(call, 200, { results: [], last_seq: wanted.since, pending: 0 });
  switch (feed) {
    case 'normal':
      return normal(house, call, database, wanted);
    case 'longpoll':
      return longPoll(house, call, database, wanted);
    case 'continuous':
    case 'eventsource': {
      const form = feed === 'continuous' ? lines : events;
      call.reply.code(200).headers({
        'content-type': feed === 'continuous' ? 'application/json' : 'text/event-stream',
        'cache-control': 'no-cache',
      });
      return call.reply.send(Readable.from(form(continuous(house, call, database, wanted))));
    }
    default:
      throw badRequest(`Supported \`feed\` types: normal, continuous, live, longpoll, eventsource (not '${feed}')`);
  }
}

async function readWanted(house: House, call: CouchCall, database: Database): Promise<Wanted> {
  const { query } = call;
  const body = call.method === 'POST' ? asObject(await readJson(call, {}), 'Request body') : {};
  const filter = query.get('filter');
  if (filter !== undefined && filter !== '_doc_ids' && filter !== '_design')
    throw new CouchError(400, 'bad_request', `the filter '${filter}' is not offered: there are _doc_ids and _design`);
  const heartbeat = query.get('heartbeat');
  const given = query.get('since') ?? call.request.headers['last-event-id'];
  return {
    since: await sinceOf(house, database, typeof given === 'string' ? given : '0'),
    limit: Math.max(1, wholeNumber(query, 'limit') ?? Number.MAX_SAFE_INTEGER),
    includeDocs: flag(query, 'include_docs') === true,
    descending: flag(query, 'descending') === true,
    ids: filter === '_doc_ids' ? new Set(idsOf(query.get('doc_ids'), body)) : null,
    designOnly: filter === '_design',
    timeoutMs: Math.min(wholeNumber(query, 'timeout') ?? DEFAULT_TIMEOUT_MS, 600_000),
    heartbeatMs:
      heartbeat === undefined || heartbeat === 'false'
        ? null
        : heartbeat === 'true'
          ? DEFAULT_TIMEOUT_MS
          : Math.max(100, wholeNumber(query, 'heartbeat') ?? 0),
  };
}

function idsOf(text: string | undefined, body: Record<string, unknown>): string[] {
  const ids: unknown = text === undefined ? body.doc_ids : jsonParameter(new Map([['doc_ids', text]]), 'doc_ids');
  if (Array.isArray(ids)) return ids.map(String);
  throw badRequest('`doc_ids` filter parameter is not a list.');
}

async function sinceOf(house: House, database: Database, since: string): Promise<string> {
  if (since === 'now') return house.changes.newest(database.id);
  if (since === '0' || since === '') return '';
  if (!isPosition(since)) throw badRequest(`Malformed sequence supplied in 'since' parameter: ${since.slice(0, 100)}`);
  return since;
}

interface Line {
  readonly seq: string;
  readonly id: string;
  readonly changes: readonly { readonly rev: string }[];
  readonly deleted?: true;
  readonly doc?: unknown;
}

function lineOf(row: DocumentRow, seq: string, wanted: Wanted): Line {
  return {
    seq,
    id: row.id,
    changes: [{ rev: revOf(row) }],
    ...(row.deleted === 0 ? {} : { deleted: true as const }),
    ...(wanted.includeDocs ? { doc: showDocument(row) } : {}),
  };
}

async function page(house: House, database: Database, wanted: Wanted, since: string) {
  const read = await house.changes.read(database.id, since, PAGE);
  const found = read.changes
    .filter(
      ({ row }) =>
        (wanted.ids === null || wanted.ids.has(row.id)) && (!wanted.designOnly || row.id.startsWith('_design/')),
    )
    .map(({ row, position, settled }) => ({ line: lineOf(row, position, wanted), settled }));
  return { found, position: read.position, more: read.more };
}

/** Everything there is after a place; of a document that comes twice, the last. */
async function collect(house: House, database: Database, wanted: Wanted): Promise<{ lines: Line[]; last: string }> {
  const found = new Map<string, Line>();
  let since = wanted.since;
  for (let more = true; more; ) {
    const read = await page(house, database, wanted, since);
    for (const { line } of read.found) {
      found.delete(line.id);
      found.set(line.id, line);
      if (!wanted.descending && found.size >= wanted.limit) return { lines: [...found.values()], last: line.seq };
    }
    since = read.position;
    more = read.more;
  }
  const all = [...found.values()];
  return { lines: wanted.descending ? all.reverse().slice(0, wanted.limit) : all, last: since === '' ? '0' : since };
}

async function normal(house: House, call: CouchCall, database: Database, wanted: Wanted) {
  const { lines: results, last } = await collect(house, database, wanted);
  return sendJson(call, 200, { results, last_seq: last, pending: 0 });
}

async function longPoll(house: House, call: CouchCall, database: Database, wanted: Wanted) {
  const first = await collect(house, database, wanted);
  if (first.lines.length > 0) return sendJson(call, 200, { results: first.lines, last_seq: first.last, pending: 0 });
  call.reply.code(200).headers({ 'content-type': 'application/json', 'cache-control': 'must-revalidate' });
  return call.reply.send(Readable.from(waitForOne(house, call, database, wanted)));
}

/** Line breaks keep the connection awake: they are white space in front of the answer. */
async function* waitForOne(house: House, call: CouchCall, database: Database, wanted: Wanted): AsyncGenerator<string> {
  yield '{"results":[\n';
  for await (const line of continuous(house, call, database, { ...wanted, limit: 1 })) {
    if (line === null) yield '\n';
    else if ('last_seq' in line) {
      yield `],\n"last_seq":${JSON.stringify(line.last_seq)},"pending":0}\n`;
      return;
    } else {
      yield `${JSON.stringify(line)}\n`;
    }
  }
}

type Event = Line | { readonly last_seq: string; readonly pending: number } | null;

/** Changes as they come; null is a sign of life. Ends after the limit, or after a time in which nothing came. */
async function* continuous(house: House, call: CouchCall, database: Database, wanted: Wanted): AsyncGenerator<Event> {
  const { gone, life } = call.request;
  let { since, limit } = wanted;
  let lastSent = performance.now();
  const left = () => (wanted.heartbeatMs ?? wanted.timeoutMs) - (performance.now() - lastSent);
  const isNew = createOnce();
  const ended = AbortSignal.any([life.ends, house.parts.closing]);
  while (!ended.aborted) {
    const heard = hear(house, database, Math.min(LOOK_MS, left()), ended);
    try {
      const read = await page(house, database, wanted, since);
      if (life.ends.aborted) break;
      for (const { line } of read.found.filter(isNew)) {
        yield line;
        lastSent = performance.now();
        since = line.seq;
        limit -= 1;
        if (limit === 0) return yield { last_seq: line.seq, pending: 0 };
      }
      since = read.position;
      if (read.more) continue;
      isNew.again();
      if (wanted.heartbeatMs === null && left() <= 0) break;
      if (wanted.heartbeatMs !== null && left() <= 0) {
        yield null;
        lastSent = performance.now();
      }
      await house.parts.signals.wait([], Math.max(10, Math.min(REST_MS, left())), ended);
      await heard.note;
    } finally {
      heard.end();
    }
  }
  if (!gone.aborted) yield { last_seq: since === '' ? '0' : since, pending: 0 };
}

/** Listens from before a reading on, so that nothing is missed between that and the wait. */
function hear(house: House, database: Database, waitMs: number, ended: AbortSignal) {
  const enough = new AbortController();
  const topics = [documentTopic(database.id), ANY_SUBMISSION];
  const note = house.parts.signals.wait(topics, Math.max(10, waitMs), AbortSignal.any([ended, enough.signal]));
  return { note, end: () => enough.abort() };
}

/** Passes what comes again for no other reason than that a transaction is under way only the first time. */
function createOnce() {
  let before = new Map<string, string>();
  let now = new Map<string, string>();
  const isNew = ({ line: { id, changes }, settled }: { readonly line: Line; readonly settled: boolean }): boolean => {
    const rev = changes[0]?.rev ?? '';
    const isKnown = before.get(id) === rev;
    if (!settled) now.set(id, rev);
    return !isKnown;
  };
  const again = () => {
    before = now;
    now = new Map();
  };
  return Object.assign(isNew, { again });
}

async function* lines(from: AsyncGenerator<Event>): AsyncGenerator<string> {
  for await (const event of from) yield event === null ? '\n' : `${JSON.stringify(event)}\n`;
}

async function* events(from: AsyncGenerator<Event>): AsyncGenerator<string> {
  for await (const event of from) {
    if (event === null) yield 'event: heartbeat\ndata: \n\n';
    else if ('seq' in event) yield `data: ${JSON.stringify(event)}\nid: ${event.seq}\n\n`;
  }
}
