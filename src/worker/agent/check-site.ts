/** Looks whether a site's machines are fit for jobs, without starting one. */
import { inLanes } from '../../ground/content/in-lanes.ts';
import type { Site } from '../../ground/protocol/site.ts';
import type { CheckName, MachineCheck, SiteCheck } from '../../ground/protocol/site-check.ts';
import { type AskCredential, credentialMemory } from '../transport/ssh/credentials.ts';
import { type Finding, skipped } from './check-finding.ts';
import { loginChecks } from './check-login.ts';
import { placeChecks } from './check-places.ts';
import { type MachineOptions, openMachine } from './machine.ts';

export interface CheckSiteOptions extends MachineOptions {
  /** Those of the site unless told. */
  readonly machines?: readonly string[];
  /** That of the site unless told. */
  readonly user?: string;
  readonly signal?: AbortSignal;
}

const AT_ONCE = 4;

/** Never rejects for what is wrong with a machine: that is what it reports. Machines are looked at side by side. */
export async function checkSite(site: Site, options: CheckSiteOptions): Promise<SiteCheck> {
  const names = options.machines ?? site.machines;
  const found: MachineCheck[] = [];
  const ask = credentialMemory(options.ask);
  await inLanes([...names.entries()], AT_ONCE, async ([at, name]) => {
    found[at] = await checkMachine(site, name, { ...options, ask });
  });
  return { site: site.name, ok: found.every(({ ok }) => ok), machines: found };
}

async function checkMachine(site: Site, name: string, options: CheckSiteOptions): Promise<MachineCheck> {
  const { ask, accepted } = acceptingOnly(options);
  const { acceptHostKeys: _noted, ...rest } = options;
  const machine = openMachine(site, name, options.user, { ...rest, ask });
  const stop = (): void => void machine.transport.close();
  options.signal?.addEventListener('abort', stop);
  try {
    options.signal?.throwIfAborted();
    const login = await loginChecks(machine, accepted);
    const failed = login.items.find(({ outcome }) => outcome === 'failed');
    if (failed) return toResult(name, login, [{ items: skipped(AFTER_LOGIN, 'not looked at: there is no login') }]);
    return toResult(name, login, await Promise.all(placeChecks(machine)));
  } finally {
    options.signal?.removeEventListener('abort', stop);
    await machine.transport.close();
  }
}

const AFTER_LOGIN: readonly CheckName[] = ['program-directory', 'temporary-directory', 'archive', 'scheduler', 'clock'];

/** Notes which host keys were taken because somebody had named them. */
function acceptingOnly({ ask, acceptHostKeys = [] }: CheckSiteOptions): { ask: AskCredential; accepted: Set<string> } {
  const accepted = new Set<string>();
  const accepting: AskCredential = Object.assign(
    async (question: Parameters<AskCredential>[0], signal: AbortSignal) => {
      const { kind, fingerprint } = question;
      if (kind !== 'host-key') return ask(question, signal);
      if (fingerprint === undefined || !acceptHostKeys.includes(fingerprint)) return undefined;
      accepted.add(fingerprint);
      return fingerprint;
    },
    { refused: (question: Parameters<AskCredential>[0]) => ask.refused?.(question) },
  );
  return { ask: accepting, accepted };
}

function toResult(machine: string, login: Finding, rest: readonly Finding[]): MachineCheck {
  const all = [login, ...rest];
  const checks = all.flatMap(({ items }) => items);
  const facts = Object.assign({}, ...all.map(({ facts: found }) => found ?? {}));
  return { machine, ok: checks.every(({ outcome }) => outcome !== 'failed'), checks, ...facts };
}
