import type { Transporter } from 'nodemailer';
import { messageOf } from '../../ground/base/errors.ts';
import { isMailAddress } from '../../ground/base/mail-address.ts';
import type { ComposedMail } from './compose-mail.ts';
import type { Delivery } from './delivery.ts';

export interface SmtpSettings {
  readonly host: string;
  readonly port: number;
  /** TLS from the first byte on; otherwise STARTTLS is used where it is offered. */
  readonly isImplicitTls: boolean;
  /** No mail goes out in the clear, and the server's certificate has to be good. */
  readonly mustBeTls: boolean;
  readonly login?: { readonly user: string; readonly password: string };
  readonly from: string;
}

export interface Mail extends ComposedMail {
  readonly uid: string;
  readonly to: string;
}

const CONNECT_MS = 20_000;
const SILENCE_MS = 60_000;

/** One connection for each mail: they are few, and a server that was restarted is met afresh. */
export function createMailSender(smtp: SmtpSettings): (mail: Mail, signal: AbortSignal) => Promise<Delivery> {
  let opened: Promise<Transporter> | undefined;
  return async ({ uid, to, subject, text }, signal) => {
    // The library would read an address as a list of several.
    if (!isMailAddress(to))
      return { outcome: 'refused', error: `'${to.slice(0, 100)}' is no mail address`, isWayBlocked: false };
    try {
      opened ??= open(smtp);
      const transport = await opened;
      await transport.sendMail({
        from: { name: 'Pilotage', address: smtp.from },
        to: { name: '', address: to },
        envelope: { from: smtp.from, to: [to] },
        messageId: `<${uid}@${smtp.from.split('@')[1]}>`,
        // No answers of machines, as of those that say that somebody is on holiday.
        headers: { 'Auto-Submitted': 'auto-generated' },
        subject,
        text,
        signal,
      });
      return { outcome: 'sent' };
    } catch (error) {
      return judge(error);
    }
  };
}

async function open({ host, port, isImplicitTls, mustBeTls, login }: SmtpSettings): Promise<Transporter> {
  const { createTransport } = await import('nodemailer');
  return createTransport({
    host,
    port,
    secure: isImplicitTls,
    requireTLS: mustBeTls,
    // Encryption that proves nothing is still better than none, where none would do.
    tls: { rejectUnauthorized: mustBeTls },
    connectionTimeout: CONNECT_MS,
    greetingTimeout: CONNECT_MS,
    socketTimeout: SILENCE_MS,
    disableFileAccess: true,
    disableUrlAccess: true,
    ...(login === undefined ? {} : { auth: { user: login.user, pass: login.password } }),
  });
}

interface SmtpError {
  readonly code?: string;
  readonly command?: string;
  readonly permanent?: boolean;
  readonly responseCode?: number;
}

/** A refused recipient or text is for good; a refused sender or password is a matter of settings, and will be mended. */
function judge(error: unknown): Delivery {
  const { code, command, permanent, responseCode } = error as SmtpError;
  const isAboutLetter = (code === 'EENVELOPE' || code === 'EMESSAGE') && command !== 'MAIL FROM';
  const isUnwritable = code === 'EENVELOPE' && responseCode === undefined;
  const said = messageOf(error).replace(/\s+/g, ' ').slice(0, 500);
  return {
    outcome: isAboutLetter && (permanent === true || isUnwritable) ? 'refused' : 'failed',
    error: `SMTP: ${said}`,
    isWayBlocked: !isAboutLetter,
  };
}
