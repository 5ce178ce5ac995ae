import type { Log } from '../../ground/base/log.ts';
import { NOTICED } from '../core/notice.ts';
import type { Store } from '../store/store.ts';
import { composeMail, type LinkOf } from './compose-mail.ts';
import { type Delivering, startDelivering } from './deliver.ts';
import { type HookSettings, sendHook } from './send-hook.ts';
import { createMailSender, type SmtpSettings } from './send-mail.ts';
import type { NoticeSettings } from './settings.ts';
import { startRounds } from './watch-hosts.ts';

export interface NoticesOptions {
  readonly store: Store;
  readonly log: Log;
  readonly serverId: string;
  readonly settings: NoticeSettings;
  readonly hooks: HookSettings;
  readonly linkOf: LinkOf;
  /** Without it mails are kept until there is one. */
  readonly smtp?: SmtpSettings;
}

export interface Notices {
  stop(): Promise<void>;
}

const MAIL_LANES = 4;
const HOOK_LANES = 8;

/** Delivers what is told about services: mails and calls of web hooks. Each is kept until the other side has taken it. */
export function startNotices(options: NoticesOptions): Notices {
  const { smtp, store, linkOf, hooks } = options;
  const channels: Delivering[] = [
    startDelivering({
      ...options,
      channel: 'hook',
      lanes: HOOK_LANES,
      isWayOfAddress: true,
      deliver: (letter, signal) => sendHook(letter, hooks, signal),
    }),
  ];
  if (smtp !== undefined) {
    const send = createMailSender(smtp);
    channels.push(
      startDelivering({
        ...options,
        channel: 'mail',
        lanes: MAIL_LANES,
        isWayOfAddress: false,
        deliver: (letter, signal) =>
          send({ uid: letter.uid, to: letter.address, ...composeMail(letter, linkOf) }, signal),
      }),
    );
  }
  const wakeAll = (): void => {
    for (const channel of channels) channel.wake();
  };
  store.onNote((note) => (note === NOTICED ? wakeAll() : undefined));
  const rounds = startRounds(options, wakeAll);
  return {
    async stop() {
      await Promise.all([rounds.stop(), ...channels.map((channel) => channel.stop())]);
    },
  };
}
