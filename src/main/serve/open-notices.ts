import type { ServeOptions } from '../../face/cli/context.ts';
import type { Log } from '../../ground/base/log.ts';
import { type Notices, startNotices } from '../../server/notices/notices.ts';
import { DEFAULT_NOTICES } from '../../server/notices/settings.ts';
import type { Links } from '../../server/pool/links.ts';
import type { PoolSettings } from '../../server/pool/settings.ts';
import type { Store } from '../../server/store/store.ts';
import { VERSION } from '../version.ts';

export interface NoticesFacts {
  readonly options: ServeOptions;
  readonly store: Store;
  readonly log: Log;
  readonly serverId: string;
  readonly settings: PoolSettings;
  readonly links: Links;
}

export function openNotices({ options, store, log, serverId, settings, links }: NoticesFacts): Notices {
  const { smtp, webhookKey, mailWindowSeconds } = options;
  const window = mailWindowSeconds === undefined ? {} : { windowMs: mailWindowSeconds * 1000 };
  return startNotices({
    store,
    log,
    serverId,
    settings: { ...DEFAULT_NOTICES, ...window, aliveWithinMs: settings.serverAliveMs },
    hooks: { version: VERSION, ...(webhookKey === undefined ? {} : { key: webhookKey }) },
    linkOf: links.urlOf,
    ...(smtp === undefined ? {} : { smtp }),
  });
}
