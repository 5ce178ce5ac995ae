/**
 * Delivers the letters of one channel: takes what is due, one letter for each lane, and says what came of it. Where the
 * way itself is blocked all letters rest, and one at a time tries whether it is free again; then the others follow at once.
 */

import { messageOf } from '../../ground/base/errors.ts';
import type { Log } from '../../ground/base/log.ts';
import type { Channel } from '../core/notice.ts';
import type { Store } from '../store/store.ts';
import type { TakenLetter } from '../store/verbs/deliver-letters.ts';
import type { Delivery } from './delivery.ts';
import type { NoticeSettings } from './settings.ts';

export interface ChannelOptions {
  readonly store: Store;
  readonly log: Log;
  readonly settings: NoticeSettings;
  readonly serverId: string;
  readonly channel: Channel;
  readonly lanes: number;
  /** Each address is a way of its own: one letter at a time, and blocked ones hold up no others. */
  readonly isWayOfAddress: boolean;
  readonly deliver: (letter: TakenLetter, signal: AbortSignal) => Promise<Delivery>;
}

export interface Delivering {
  /** There may be something to deliver. */
  wake(): void;
  /** What is under way may come to its end for a moment. */
  stop(): Promise<void>;
}

const STOP_MS = 3000;
const LONGEST_REST_MS = 300_000;

export function startDelivering(options: ChannelOptions): Delivering {
  const { store, log, settings, serverId, channel, isWayOfAddress } = options;
  const ending = new AbortController();
  const underWay = new Map<string, { readonly address: string; readonly done: Promise<void> }>();
  /** Ways on which something went wrong last: how often in a row, and until when they rest. */
  const troubled = new Map<string, { readonly times: number; readonly since: number; readonly until: number }>();
  let isStopped = false;
  let news = Promise.withResolvers<void>();

  const wake = (): void => news.resolve();
  const wayOf = (address: string): string => (isWayOfAddress ? address : '');

  const deliver = async (letter: TakenLetter): Promise<void> => {
    const signal = AbortSignal.any([ending.signal, AbortSignal.timeout(settings.tryMs)]);
    const began = performance.now();
    const delivery = await tryTo(() => options.deliver(letter, signal));
    const error = delivery.outcome === 'sent' ? null : delivery.error;
    const { firstPauseMs, longestPauseMs, giveUpMs } = settings;
    const state = await store.finishLetter({
      id: letter.id,
      tries: letter.tries,
      outcome: delivery.outcome,
      error,
      firstPauseMs,
      longestPauseMs,
      giveUpMs,
    });
    say(letter, state, error);
    await noteWay(letter.address, delivery, began);
  };

  const say = (letter: TakenLetter, state: string | null, error: string | null): void => {
    const facts = { service: letter.service, letter: letter.uid, kind: letter.kind, tries: letter.tries };
    const what = channel === 'mail' ? `a mail to ${letter.address}` : 'a call of a web hook';
    if (state === 'given-up') log.error(facts, `${what} was given up: ${error}`);
    else if (error !== null) log.warn(facts, `${what} could not be delivered, it will be tried again: ${error}`);
    else log.debug(facts, `${what} was delivered`);
  };

  const noteWay = async (address: string, delivery: Delivery, began: number): Promise<void> => {
    const way = wayOf(address);
    if (delivery.outcome === 'sent' || delivery.outcome === 'refused') {
      if (troubled.delete(way)) await store.hastenLetters({ channel, address: isWayOfAddress ? address : null });
      return;
    }
    // That a mail server wants one letter later says nothing of the others.
    if (!delivery.isWayBlocked && !isWayOfAddress) return;
    const known = troubled.get(way);
    // Several at once that find it blocked found it blocked once.
    if (known && began < known.since) return;
    const times = (known?.times ?? 0) + 1;
    const restMs = Math.min(LONGEST_REST_MS, settings.firstPauseMs * 2 ** Math.min(30, times - 1));
    troubled.set(way, { times, since: performance.now(), until: performance.now() + restMs });
  };

  const resting = () => [...troubled].filter(([, { until }]) => until > performance.now());
  const whose = () => ({
    channel,
    server: serverId,
    aliveWithinMs: settings.aliveWithinMs,
    except: isWayOfAddress
      ? [...[...underWay.values()].map(({ address }) => address), ...resting().map(([way]) => way)]
      : [],
  });

  const start = (letter: TakenLetter): void => {
    const done = deliver(letter)
      .catch((error: unknown) =>
        log.error({ err: error }, `what came of a letter could not be written down: ${messageOf(error)}`),
      )
      .finally(() => {
        underWay.delete(letter.uid);
        wake();
      });
    underWay.set(letter.uid, { address: letter.address, done });
  };

  /** Returns for how long there is nothing to do. */
  const round = async (): Promise<number> => {
    const lanes = troubled.size > 0 && !isWayOfAddress ? 1 : options.lanes;
    while (!isStopped && underWay.size < lanes) {
      const rest = Math.min(settings.lookMs, ...resting().map(([, { until }]) => until - performance.now()));
      if (!isWayOfAddress && resting().length > 0) return Math.max(1, rest);
      const due = await store.lettersDue(whose());
      if (!due.isReady) return Math.max(1, Math.min(rest, due.inMs ?? Infinity));
      const letter = await store.takeLetter({ ...whose(), ...settings });
      if (letter) start(letter);
    }
    return settings.lookMs;
  };

  /** How often it was tried before says nothing after a start: somebody may have mended what was in the way. */
  const tryAllAgain = (): Promise<unknown> =>
    store.hastenLetters({ channel, address: null }).catch((error: unknown) => {
      log.warn({ err: error }, `what waits is tried at its own time: ${messageOf(error)}`);
    });

  const run = async (): Promise<void> => {
    await tryAllAgain();
    while (!isStopped) {
      news = Promise.withResolvers();
      const waitMs = await round().catch((error: unknown) => {
        if (!isStopped)
          log.error({ err: error }, `notices could not be delivered, it will be tried again: ${messageOf(error)}`);
        return settings.lookMs;
      });
      if (isStopped) break;
      const timer = setTimeout(wake, waitMs);
      await news.promise;
      clearTimeout(timer);
    }
  };
  const running = run();

  return {
    wake,
    async stop() {
      isStopped = true;
      wake();
      await running;
      const timer = setTimeout(() => ending.abort(new Error('the server ends')), STOP_MS);
      await Promise.all([...underWay.values()].map(({ done }) => done));
      clearTimeout(timer);
    },
  };
}

/** What goes wrong before anything is sent is a failure as any other: it is kept, and tried again. */
async function tryTo(deliver: () => Promise<Delivery>): Promise<Delivery> {
  try {
    return await deliver();
  } catch (error) {
    return { outcome: 'failed', error: messageOf(error), isWayBlocked: false };
  }
}
