/** How `serve` sends mail: what its options say, put together and checked. */
import { PilotageError } from '../../ground/base/errors.ts';
import { isMailAddress } from '../../ground/base/mail-address.ts';
import { readPasswordFile, readSecretFile } from './secret-file.ts';

export interface SmtpOptions {
  readonly smtp?: string;
  readonly smtpPasswordFile?: string;
  readonly smtpRequireTls?: boolean;
  readonly mailFrom?: string;
}

export interface SmtpAccess {
  readonly host: string;
  readonly port: number;
  readonly isImplicitTls: boolean;
  /** No mail goes out in the clear, and the server's certificate has to be good. */
  readonly mustBeTls: boolean;
  readonly login?: { readonly user: string; readonly password: string };
  readonly from: string;
}

export function readSmtpOptions(options: SmtpOptions): SmtpAccess | undefined {
  const { smtp, smtpPasswordFile, smtpRequireTls, mailFrom } = options;
  if (smtp === undefined) {
    const [alone] = [
      ...(smtpPasswordFile === undefined ? [] : ['--smtp-password-file']),
      ...(smtpRequireTls ? ['--smtp-require-tls'] : []),
      ...(mailFrom === undefined ? [] : ['--mail-from']),
    ];
    if (alone !== undefined) throw wrong(`${alone} goes with --smtp smtp://HOST: give both`);
    return undefined;
  }
  const url = parse(smtp);
  const user = decodeURIComponent(url.username);
  if ((user === '') !== (smtpPasswordFile === undefined))
    throw wrong(
      user === ''
        ? '--smtp-password-file goes with a user: write --smtp smtp://USER@HOST'
        : `--smtp names the user '${user}', whose password is missing: give --smtp-password-file`,
    );
  const isImplicitTls = url.protocol === 'smtps:';
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const login = smtpPasswordFile === undefined ? {} : { login: { user, password: readPasswordFile(smtpPasswordFile) } };
  return {
    host,
    port: url.port === '' ? usualPort(isImplicitTls, user !== '') : Number(url.port),
    isImplicitTls,
    // A password does not leave this machine unless it is sure who gets it.
    mustBeTls: isImplicitTls || smtpRequireTls === true || (user !== '' && !isThisMachine(host)),
    ...login,
    from: fromOf(mailFrom),
  };
}

function parse(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !['smtp:', 'smtps:'].includes(url.protocol) || url.hostname === '')
    throw wrong('--smtp is no address of a mail server: write smtp://HOST:PORT, smtp://USER@HOST or smtps://USER@HOST');
  if (url.password !== '')
    throw wrong(
      'a password on the command line or in a configuration file can be read by everybody on this machine: put it into a file of mode 0600 for --smtp-password-file',
    );
  if (!['', '/'].includes(url.pathname) || url.search !== '' || url.hash !== '')
    throw wrong('--smtp ends after the port: write smtp://HOST:PORT');
  return url;
}

function usualPort(isImplicitTls: boolean, hasUser: boolean): number {
  if (isImplicitTls) return 465;
  return hasUser ? 587 : 25;
}

function isThisMachine(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function fromOf(from: string | undefined): string {
  if (from === undefined) throw wrong('--smtp needs a sender that its server accepts: give --mail-from ADDRESS');
  if (isMailAddress(from)) return from;
  throw wrong(`'${from}' of --mail-from is no mail address: write NAME@HOST`);
}

/** What calls of web hooks are signed with. */
export function readWebhookKey(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  const key = readSecretFile(file, 'key');
  if (key.length >= 16) return key;
  throw wrong(
    `the key in '${file}' has ${key.length} characters: 16 are the least, 'openssl rand -hex 32' makes a good one`,
  );
}

function wrong(what: string): PilotageError {
  return new PilotageError('bad-request', what);
}
