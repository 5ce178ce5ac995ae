/** Reads why ssh failed out of what it printed. The texts are OpenSSH's own (8.4 to 9.9, LC_ALL=C). */
import type { PilotageError } from '../../../ground/base/errors.ts';
import { notStarted } from '../failures.ts';
import type { CredentialQuestion } from './credentials.ts';

export interface FailedLogin {
  readonly machine: string;
  readonly said: string;
  /** What was asked and answered on the way. */
  readonly answered: readonly CredentialQuestion[];
  /** Somebody was asked, whether or not the answer came in time. */
  readonly wasAsked: boolean;
}

export function explainFailure(failed: FailedLogin): PilotageError {
  return changedKey(failed) ?? refusedLogin(failed) ?? badConfiguration(failed) ?? notReached(failed);
}

function changedKey({ machine, said }: FailedLogin): PilotageError | undefined {
  if (!/HOST IDENTIFICATION HAS CHANGED|host key for .* has changed|REVOKED HOST KEY/i.test(said)) return undefined;
  const host = /Host key for (\S+) (?:has changed|was revoked)/i.exec(said)?.[1] ?? machine;
  const fingerprint = /(SHA256:[A-Za-z0-9+/=]+[A-Za-z0-9+/=])/.exec(said)?.[1];
  const line = /Offending (?:\S+ )?key (?:in|for \S+ in) ([^\r\n]+:\d+)/.exec(said)?.[1];
  const where = line ? ` What is known is in ${line}.` : '';
  return notStarted(
    'host-key-changed',
    `'${host}' shows another host key than the one that is known (${fingerprint ?? 'revoked'}): somebody may be in between. Nothing was sent.${where} Ask who runs the machine; if the change is right, remove that line (ssh-keygen -R ${quoteHost(host)}) and accept the new key`,
    { machine, host, ...(fingerprint ? { fingerprint } : {}), ...(line ? { knownHosts: line } : {}) },
  );
}

function quoteHost(host: string): string {
  return host.startsWith('[') ? `'${host}'` : host;
}

function refusedLogin({ machine, said, answered }: FailedLogin): PilotageError | undefined {
  const denied = /^(\S+): Permission denied \(([\w,@.-]*)\)/m.exec(said);
  if (!denied && !/Too many authentication failures|No more authentication methods|^\S+: Permission denied/m.test(said))
    return undefined;
  const methods = denied?.[2]?.split(',') ?? [];
  const tried = answered.filter(({ kind }) => kind !== 'host-key').map(({ kind }) => kind);
  const advice =
    tried.length > 0
      ? `the ${[...new Set(tried)].join(' and ')} that was given is wrong, or is not enough: try again with the right one`
      : `no key of yours is accepted there${methods.length > 0 ? ` (it takes ${methods.join(', ')})` : ''}: put your public key into ~/.ssh/authorized_keys there, or name the right key and user in ~/.ssh/config`;
  const who = denied?.[1] ?? machine;
  return notStarted('login-refused', `'${machine}' refused the login (${who}): ${advice}`, { machine, methods, tried });
}

function badConfiguration({ machine, said }: FailedLogin): PilotageError | undefined {
  const line =
    /^.*(?:Bad configuration option|bad configuration options|Bad owner or permissions|Unsupported option|argument).*$/im.exec(
      said,
    );
  if (!line || !/line \d+|configuration|owner or permissions/i.test(line[0])) return undefined;
  return notStarted('bad-request', `ssh does not take its configuration for '${machine}': ${line[0].trim()}`, {
    machine,
  });
}

const REASONS: readonly [RegExp, string, string][] = [
  [
    /Could not resolve hostname ([^\s:]+)/i,
    'name-unknown',
    'no host of that name is known: check the spelling, or name it in ~/.ssh/config',
  ],
  [/Connection refused/i, 'refused', 'nothing listens there: is the SSH server running, and is the port right?'],
  [
    /No route to host|Network is unreachable/i,
    'no-route',
    'the network does not lead there: is the machine on, and are you in the right network?',
  ],
  [/timed out/i, 'timed-out', 'it does not answer in time: is the machine on, or a firewall in between?'],
  [
    /Connection (closed|reset) by|kex_exchange_identification|Broken pipe/i,
    'closed',
    'it ended the connection before the login: it may be overloaded, or not take connections from here',
  ],
  [/ENOENT|command not found/, 'no-ssh', "there is no program 'ssh' here: install OpenSSH's client"],
];

const OTHER = [undefined, 'other', 'ssh ended without a login, or what it started there at once'] as const;

function notReached({ machine, said, wasAsked }: FailedLogin): PilotageError {
  const [, why, advice] = REASONS.find(([text]) => text.test(said)) ?? OTHER;
  const words = why === 'other' ? said.trim().split(/\r?\n/).slice(-2).join('; ').slice(-300) : lastWords(said);
  const message = `'${machine}' is not reached: ${advice}${words ? ` (ssh says: ${words})` : ''}`;
  return notStarted('unreachable', message, { machine, why, asked: wasAsked });
}

/** The last lines that are ssh's messages, not a banner. */
function lastWords(said: string): string {
  const lines = said.split(/\r?\n/).map((line) => line.trim());
  return lines
    .filter((line) => /^(ssh|kex_|Connection|Host key|banner|channel|stdio)|: /i.test(line))
    .slice(-2)
    .join('; ')
    .slice(-300);
}
