/** The server's side of the thread of the views. */
import { Worker } from 'node:worker_threads';
import { messageOf, PilotageError } from '../../../ground/base/errors.ts';
import type { Log } from '../../../ground/base/log.ts';
import { fromFailed, toFailed } from './failed.ts';
import type { ViewLimits } from './limits.ts';
import type { FromThread, Question, Running, ThreadData, ToThread } from './thread-messages.ts';
import type { ReadChanges } from './views.ts';

export interface ViewsThread {
  ask(question: Question): Promise<unknown>;
  close(): Promise<void>;
}

export interface ThreadOptions {
  readonly directory: string;
  readonly limits: ViewLimits;
  readonly readChanges: ReadChanges;
  readonly log: Log;
}

interface Pending {
  readonly question: Question;
  /** How many threads ended over it, or over another that was asked at the same time. */
  ends: number;
  readonly result: PromiseWithResolvers<unknown>;
}

const CLOSE_MS = 5000;
const MOST_ENDS = 3;

export async function startThread(options: ThreadOptions): Promise<ViewsThread> {
  const pending = new Map<number, Pending>();
  const closed = Promise.withResolvers<void>();
  const condemned: Running[] = [];
  let number = 0;
  let closing = false;
  let worker = await start();

  async function start(): Promise<Worker> {
    const shared = new SharedArrayBuffer(4);
    const own = import.meta.url.endsWith('.ts') ? './thread.ts' : './thread.js';
    const { directory, limits } = options;
    const started = new Worker(new URL(own, import.meta.url), {
      workerData: { directory, limits, shared, condemned } satisfies ThreadData,
      resourceLimits: { maxYoungGenerationSizeMb: 16, stackSizeMb: 8 },
    });
    const ready = Promise.withResolvers<void>();
    let running: Running | undefined;
    started.on('message', (message: FromThread) => {
      if (message.type === 'ready') ready.resolve();
      else if (message.type === 'running') running = message.running;
      else void receive(started, message);
    });
    const stopWatching = watchForHang(new Int32Array(shared), limits.hungAfterMs, () => {
      if (running) condemned.push(running);
      options.log.error({ ...running }, hungMessage(running));
      void started.terminate();
    });
    started.on('error', (error) => {
      ready.reject(error);
      options.log.error({ error: messageOf(error) }, `the thread of the views ended: ${messageOf(error)}`);
    });
    started.on('exit', () => {
      stopWatching();
      closed.resolve();
      if (!closing && started === worker) void restart();
    });
    await ready.promise;
    return started;
  }

  async function restart(): Promise<void> {
    try {
      worker = await start();
      for (const [id, one] of [...pending]) again(id, one);
    } catch (error) {
      failAll(error);
    }
  }

  function again(id: number, one: Pending): void {
    if (++one.ends < MOST_ENDS) worker.postMessage({ type: 'question', id, question: one.question } satisfies ToThread);
    else
      settle({
        type: 'answer',
        id,
        outcome: {
          failed: toFailed(
            new PilotageError('internal', 'the thread of the views ended over this question: the log says why'),
          ),
        },
      });
  }

  function failAll(error: unknown): void {
    for (const { result } of pending.values())
      result.reject(
        new PilotageError('internal', 'the thread of the views cannot be started: restart the server', {
          cause: error,
        }),
      );
    pending.clear();
  }

  async function receive(from: Worker, message: FromThread): Promise<void> {
    if (message.type === 'log') options.log[message.level](message.facts, message.message);
    else if (message.type === 'closed') closed.resolve();
    else if (message.type === 'ask') from.postMessage(await readFor(message));
    else if (message.type === 'answer') settle(message);
  }

  async function readFor({ id, database, after }: Extract<FromThread, { type: 'ask' }>): Promise<ToThread> {
    try {
      return { type: 'changes', id, outcome: { value: await options.readChanges(database, after) } };
    } catch (error) {
      return { type: 'changes', id, outcome: { failed: toFailed(error) } };
    }
  }

  function settle({ id, outcome }: Extract<FromThread, { type: 'answer' }>): void {
    const one = pending.get(id);
    pending.delete(id);
    if ('failed' in outcome) one?.result.reject(fromFailed(outcome.failed));
    else one?.result.resolve(outcome.value);
  }

  return {
    ask: (question) => {
      if (closing)
        return Promise.reject(new PilotageError('shutting-down', 'the server stops: ask again when it is back'));
      const result = Promise.withResolvers<unknown>();
      pending.set(++number, { question, ends: 0, result });
      worker.postMessage({ type: 'question', id: number, question } satisfies ToThread);
      return result.promise;
    },
    close: async () => {
      closing = true;
      worker.postMessage({ type: 'close' } satisfies ToThread);
      const timer = setTimeout(closed.resolve, CLOSE_MS);
      await closed.promise;
      clearTimeout(timer);
      await worker.terminate();
      for (const { result } of pending.values())
        result.reject(new PilotageError('shutting-down', 'the server stops: ask again when it is back'));
      pending.clear();
    },
  };
}

/** Some functions of QuickJS loop in themselves without asking whether to go on: only the thread's end stops them. */
function watchForHang(running: Int32Array, hungAfterMs: number, onHang: () => void): () => void {
  let last = 0;
  let since = performance.now();
  const timer = setInterval(() => {
    const call = Atomics.load(running, 0);
    if (call !== last || call === 0) {
      last = call;
      since = performance.now();
    } else if (performance.now() - since > hungAfterMs) onHang();
  }, hungAfterMs / 10);
  timer.unref();
  return () => clearInterval(timer);
}

function hungMessage(running: Running | undefined): string {
  const whose = running ? `the functions of ${running.design} in ${running.database}` : 'a function';
  return `${whose} hung the thread of the views: it is started again, and they are not run any more until they change`;
}
