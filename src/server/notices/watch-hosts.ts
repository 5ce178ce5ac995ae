/** In rounds: hosts that are silent are told of, and letters that ended long ago are removed. */
import { messageOf } from '../../ground/base/errors.ts';
import type { Log } from '../../ground/base/log.ts';
import type { Store } from '../store/store.ts';
import type { NoticeSettings } from './settings.ts';

export interface Rounds {
  stop(): Promise<void>;
}

const MOST_FORGOTTEN = 1000;

/**
 * A host can be missed by those only that were there to hear it: silence counts from when this server, and its database,
 * have been at work without a break.
 */
export function startRounds(
  { store, log, settings }: { store: Store; log: Log; settings: NoticeSettings },
  wake: () => void,
): Rounds {
  let isStopped = false;
  let listeningSince = Date.now();
  let lastRound = Date.now();
  let timer: NodeJS.Timeout | undefined;

  const round = async (): Promise<void> => {
    const now = Date.now();
    if (now - lastRound > 3 * settings.roundMs || now < lastRound) listeningSince = now;
    lastRound = now;
    const { silentMs } = settings;
    if (now - listeningSince >= silentMs && (await store.tellSilentHosts({ silentMs })) > 0) wake();
    while ((await store.forgetLetters({ olderThanMs: settings.keepMs, most: MOST_FORGOTTEN })) === MOST_FORGOTTEN);
  };

  const next = (): void => {
    running = round()
      .catch((error: unknown) => {
        listeningSince = Date.now();
        log.error({ err: error }, `looking after notices failed, it will be tried again: ${messageOf(error)}`);
      })
      .then(() => {
        if (!isStopped) timer = setTimeout(next, settings.roundMs);
      });
  };
  let running: Promise<void> = Promise.resolve();
  timer = setTimeout(next, settings.roundMs);
  return {
    async stop() {
      isStopped = true;
      clearTimeout(timer);
      await running;
      clearTimeout(timer);
    },
  };
}
