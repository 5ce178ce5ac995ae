import { messageOf, PilotageError } from '../../ground/base/errors.ts';
import { type Finding, failed, passed, skipped } from './check-finding.ts';
import type { Machine } from './machine.ts';

/** The way in: the network, the host key, the login. The first that fails says what to do. */
export async function loginChecks({ site, name, transport }: Machine, accepted: ReadonlySet<string>): Promise<Finding> {
  try {
    await transport.connect();
    const { stdout } = await transport.run('id -un', { timeoutMs: site.timeoutSeconds * 1000 });
    const user = stdout.trim();
    if (site.transport === 'local')
      return {
        items: [passed('reachable', 'this machine'), ...skipped(['host-key'], 'not needed'), passed('login', user)],
        facts: { user },
      };
    const [fingerprint] = accepted;
    const key = fingerprint === undefined ? 'known, and the same' : `${fingerprint}: accepted, and kept`;
    return {
      items: [passed('reachable', 'it answers'), passed('host-key', key), passed('login', `as ${user}`)],
      facts: { user },
    };
  } catch (error) {
    return explain(name, site.name, error);
  }
}

function explain(machine: string, site: string, error: unknown): Finding {
  const { code, details } = error instanceof PilotageError ? error : { code: undefined, details: {} };
  const reached = passed('reachable', 'it answers');
  const message = messageOf(error);
  if (code === 'host-key-unknown') {
    const fingerprint = typeof details.fingerprint === 'string' ? details.fingerprint : undefined;
    const how = fingerprint && `pilotage site test ${site} --machine ${machine} --accept-host-key ${fingerprint}`;
    return {
      items: [reached, failed('host-key', message, how && `if it is right: ${how}`), ...skipped(['login'], NOT_TRIED)],
      ...(fingerprint === undefined ? {} : { facts: { fingerprint } }),
    };
  }
  if (code === 'host-key-changed')
    return { items: [reached, failed('host-key', message), ...skipped(['login'], NOT_TRIED)] };
  if (code === 'login-refused') return { items: [reached, passed('host-key', 'known'), failed('login', message)] };
  if (code === 'credential-missing')
    return { items: [reached, passed('host-key', 'known'), failed('login', message, BY_HAND)] };
  return { items: [failed('reachable', message), ...skipped(['host-key', 'login'], NOT_TRIED)] };
}

const NOT_TRIED = 'not tried';
const BY_HAND =
  "run 'pilotage site test' in a terminal and answer there, or put a key into ~/.ssh/authorized_keys on the machine";
