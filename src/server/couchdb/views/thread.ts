/** The thread of the views: runs their functions and keeps their indexes, so that the server's own never waits. */
import { parentPort, workerData } from 'node:worker_threads';
import { PilotageError } from '../../../ground/base/errors.ts';
import type { Log } from '../../../ground/base/log.ts';
import { type DatabaseViews, openDatabaseViews } from './database-views.ts';
import type { DesignIndex } from './design-index.ts';
import { fromFailed, toFailed } from './failed.ts';
import type { FromThread, Question, Running, ThreadData, ToThread } from './thread-messages.ts';
import type { Changes } from './views.ts';

const port = parentPort;
if (!port) throw new Error('thread.ts is started by open-views.ts');
const { directory, limits, shared, condemned } = workerData as ThreadData;
const inside = new Int32Array(shared);
/** Those used last come last. */
const databases = new Map<string, DatabaseViews>();
/** How many questions of each database are under way. */
const busy = new Map<string, number>();
const asked = new Map<number, PromiseWithResolvers<Changes>>();
/** Designs whose interpreters may stay open; those used last come last. */
const used = new Set<DesignIndex>();
/** Interpreters that stay open: each holds up to some 80 MB when its functions have filled it. */
const OPEN_SANDBOXES = 8;
const OPEN_FILES = 50;
let number = 0;
let calls = 0;
let said: Running | undefined;

const watch = {
  enter: (running: Running) => {
    if (running !== said) say({ type: 'running', running });
    said = running;
    calls = (calls % 0x7fffffff) + 1;
    Atomics.store(inside, 0, calls);
  },
  leave: () => void Atomics.store(inside, 0, 0),
};

port.on('message', (message: ToThread) => {
  if (message.type === 'question') void answer(message.id, message.question);
  else if (message.type === 'changes') settle(message);
  else close();
});
say({ type: 'ready' });

function say(message: FromThread): void {
  port?.postMessage(message);
}

async function answer(id: number, question: Question): Promise<void> {
  const { database } = question;
  busy.set(database, (busy.get(database) ?? 0) + 1);
  try {
    say({ type: 'answer', id, outcome: { value: await toAnswer(question) } });
  } catch (error) {
    say({ type: 'answer', id, outcome: { failed: toFailed(error) } });
  } finally {
    leave(database);
  }
}

/** Files that nobody reads are closed when there are many, those used longest ago first. */
function leave(database: string): void {
  const left = (busy.get(database) ?? 1) - 1;
  if (left > 0) busy.set(database, left);
  else busy.delete(database);
  for (const [name, views] of databases) {
    if (databases.size <= OPEN_FILES) return;
    if (busy.has(name)) continue;
    databases.delete(name);
    views.close();
  }
}

async function toAnswer(question: Question): Promise<unknown> {
  const views = viewsOf(question.database);
  switch (question.kind) {
    case 'query':
      return views.query(question.design, question.view, question.query);
    case 'find':
      return views.find(question.request);
    case 'forget':
      databases.delete(question.database);
      views.remove();
      return undefined;
  }
}

function viewsOf(database: string): DatabaseViews {
  const known = databases.get(database);
  if (known) {
    databases.delete(database);
    databases.set(database, known);
    return known;
  }
  const views = openDatabaseViews({
    directory,
    database,
    limits,
    watch,
    condemned,
    log: log(),
    read: (after) => readChanges(database, after, () => databases.get(database) === views),
    onUse: use,
  });
  databases.set(database, views);
  return views;
}

function use(index: DesignIndex): void {
  used.delete(index);
  used.add(index);
  if (used.size <= OPEN_SANDBOXES) return;
  used.delete(used.values().next().value as DesignIndex);
  for (const views of databases.values()) views.releaseAllBut(used);
}

async function readChanges(database: string, after: string, isKept: () => boolean): Promise<Changes> {
  const id = ++number;
  const result = Promise.withResolvers<Changes>();
  asked.set(id, result);
  say({ type: 'ask', id, database, after });
  const changes = await result.promise;
  if (isKept()) return changes;
  throw new PilotageError('wrong-state', `the indexes of ${database} were dropped while they were read: ask again`);
}

function settle({ id, outcome }: Extract<ToThread, { type: 'changes' }>): void {
  const result = asked.get(id);
  asked.delete(id);
  if ('failed' in outcome) result?.reject(fromFailed(outcome.failed));
  else result?.resolve(outcome.value);
}

function log(): Log {
  const at =
    (level: 'debug' | 'info' | 'warn' | 'error') =>
    (facts: object, message: string): void =>
      say({ type: 'log', level, facts, message });
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** What is under way is cut off between two transactions: the next start goes on from there. */
function close(): void {
  for (const views of databases.values()) views.close();
  databases.clear();
  say({ type: 'closed' });
  port?.close();
}
