import type { Store } from '../store/store.ts';

export interface LeadershipOptions {
  readonly store: Store;
  readonly serverId: string;
  /** It changed. What is asked here meanwhile answers as it is from now on. */
  readonly onChange: (leads: boolean) => Promise<void>;
  readonly onFailure: (error: unknown) => void;
}

/** Which of the servers of one database keeps the links to neighbours: one of them, as long as it says so. */
export interface Leadership {
  leads(): boolean;
  /** False too when nobody heard of this server for so long that another one may lead by now. */
  isSure(): boolean;
  /** Asks to lead, and resolves once it is known. */
  begin(): Promise<void>;
  stop(): void;
  /** Another one may lead at once. */
  leave(): Promise<void>;
}

const ASK_MS = 3000;
const LEASE_MS = 10_000;

export function createLeadership({ store, serverId, onChange, onFailure }: LeadershipOptions): Leadership {
  let leads = false;
  let told = false;
  let askedAt = 0;
  let timer: NodeJS.Timeout | undefined;
  let telling: Promise<void> = Promise.resolve();

  const ask = async (): Promise<void> => {
    const begun = performance.now();
    const now = await store.leadPeers({ serverId, leaseMs: LEASE_MS });
    if (now) askedAt = begun;
    leads = now;
    const before = telling;
    telling = tell(before);
    await telling;
  };
  /** One change after the other, each as it stands then; one that failed is told again with the next answer. */
  const tell = async (before: Promise<void>): Promise<void> => {
    await before.catch(() => undefined);
    const now = leads;
    if (told === now) return;
    await onChange(now);
    told = now;
  };
  return {
    leads: () => leads,
    isSure: () => leads && performance.now() - askedAt < LEASE_MS,
    async begin() {
      await ask();
      timer = setInterval(() => void ask().catch(onFailure), ASK_MS);
    },
    stop: () => clearInterval(timer),
    async leave() {
      if (leads) await store.leavePeers({ serverId });
    },
  };
}
