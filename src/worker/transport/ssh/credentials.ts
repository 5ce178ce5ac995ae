/** What ssh asks for, who answers, and how long an answer is remembered. */

export type QuestionKind = 'password' | 'passphrase' | 'code' | 'host-key' | 'other';

export interface CredentialQuestion {
  readonly user?: string;
  /** As the user wrote it. The prompt may be about a host on the way to it. */
  readonly machine: string;
  readonly kind: QuestionKind;
  /** As ssh put it. */
  readonly prompt: string;
  /** Of a host key: the only answer that accepts it. */
  readonly fingerprint?: string;
}

/** Resolves with the answer, or undefined when there is none: then the login is given up. */
export interface AskCredential {
  /** @param signal comes when the answer is of no use any more: the server did not wait, or we are closing. */
  (question: CredentialQuestion, signal: AbortSignal): Promise<string | undefined>;
  /** The login was refused after this had been answered. */
  refused?(question: CredentialQuestion): void;
}

/** Passwords and passphrases stay the same for a while. A code is good once, and a host key is not a secret. */
const REMEMBERED: readonly QuestionKind[] = ['password', 'passphrase'];

/** Asks once for each thing in its life; keeps the answers in memory only, and forgets those that were refused. */
export function credentialMemory(ask: AskCredential): AskCredential {
  const known = new Map<string, Promise<string | undefined>>();

  const askOnce = async (question: CredentialQuestion, signal: AbortSignal): Promise<string | undefined> => {
    if (!REMEMBERED.includes(question.kind)) return ask(question, signal);
    const key = keyOf(question);
    const asked = known.get(key) ?? ask(question, signal);
    known.set(key, asked);
    const forget = (): void => {
      if (known.get(key) === asked) known.delete(key);
    };
    try {
      const answer = await asked;
      if (answer === undefined) forget();
      return answer;
    } catch (error) {
      forget();
      throw error;
    }
  };
  return Object.assign(askOnce, {
    refused: (question: CredentialQuestion) => {
      known.delete(keyOf(question));
      ask.refused?.(question);
    },
  });
}

function keyOf({ user, machine, kind, prompt }: CredentialQuestion): string {
  return JSON.stringify([user ?? '', machine, kind, prompt]);
}

const CODE = /one-time|\bOTP\b|\bcode\b|verification|passcode|token|2fa|two-factor|challenge|response|authenticator/i;

/** Goes by the texts of OpenSSH (sshconnect2.c, readconf.c, since 5.x) and, for what a server's PAM asks, by usual words. */
export function kindOf(prompt: string): QuestionKind {
  if (/authenticity of host .* can't be established|continue connecting \(yes\/no/s.test(prompt)) return 'host-key';
  if (/passphrase for (key|.*key)|^Enter passphrase/i.test(prompt)) return 'passphrase';
  if (/'s (old |new )?password: ?$/i.test(prompt)) return 'password';
  if (CODE.test(prompt)) return 'code';
  return /password|passwort|kennwort|mot de passe/i.test(prompt) ? 'password' : 'other';
}

/** `SHA256:…` of the host key that a prompt shows, its type, and whose it is. */
export function hostKeyIn(prompt: string): { fingerprint?: string; type?: string; host?: string } {
  const key = /(\S+) key fingerprint is:? ?(SHA256:[A-Za-z0-9+/=]+)/.exec(prompt);
  const host = /authenticity of host '([^']*)'/.exec(prompt)?.[1];
  return { ...(key ? { type: key[1] as string, fingerprint: key[2] as string } : {}), ...(host ? { host } : {}) };
}
