import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { generate } from 'selfsigned';
import { missing, type Needed } from './debian.ts';
import { freePort } from './free-port.ts';
import { waitUntil } from './wait-until.ts';

export const EXIM: Needed = { program: '/usr/sbin/exim4', packages: ['exim4-daemon-light'] };
export const MAIL_USER = 'pilotage';
export const MAIL_PASSWORD = 'a secret of mail';

/** Why there is no mail server here; undefined: there is one. */
export function missingExim(): string | undefined {
  const reason = missing(EXIM);
  return reason ?? (process.getuid?.() === 0 ? undefined : 'a mail server of its own takes root');
}

export interface Letter {
  readonly to: string;
  readonly subject: string;
  readonly messageId: string;
  readonly text: string;
  readonly headers: string;
}

/** Debian's exim4 on a port of 127.0.0.1, which keeps all that it gets. `nobody@…` is refused, `later@…` put off. */
export interface MailServer {
  readonly port: number;
  readonly url: string;
  /** Its certificate, for `localhost`. */
  readonly certificate: string;
  /** What came so far, in no order. */
  letters(): Letter[];
  to(address: string): Letter[];
  /** Lines of its log. */
  log(): string;
  start(): Promise<void>;
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export async function startExim({ isStrict = false }: { isStrict?: boolean } = {}): Promise<MailServer> {
  const directory = mkdtempSync(path.join(tmpdir(), 'pilotage-exim-'));
  const port = await freePort();
  const maildir = path.join(directory, 'mail');
  for (const name of ['mail', 'spool', 'log']) mkdirSync(path.join(directory, name));
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'localhost' }], {
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] }],
  });
  const certificate = path.join(directory, 'cert.pem');
  writeFileSync(certificate, cert);
  writeFileSync(path.join(directory, 'key.pem'), key);
  execFileSync('chown', ['-R', 'Debian-exim:Debian-exim', directory]);
  chmodSync(directory, 0o755);
  // Exim takes root's files of settings only.
  const config = path.join(directory, 'exim.conf');
  writeFileSync(config, configOf({ directory, port, isStrict }));
  let running: { end(): Promise<void> } | undefined;

  const server: MailServer = {
    port,
    url: `smtp://127.0.0.1:${port}`,
    certificate,
    letters: () => filesOf(maildir).map(readLetter),
    to: (address) => server.letters().filter(({ to }) => to === address),
    log: () => {
      try {
        return readFileSync(path.join(directory, 'log', 'main'), 'utf8');
      } catch {
        return '';
      }
    },
    async start() {
      running ??= await run(config, port);
    },
    async stop() {
      await running?.end();
      running = undefined;
    },
    async [Symbol.asyncDispose]() {
      await server.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
  await server.start();
  return server;
}

async function run(config: string, port: number) {
  const child = spawn(EXIM.program, ['-C', config, '-bdf'], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (piece) => {
    said += String(piece);
  });
  const over = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await waitUntil('exim answers', () => {
    if (child.exitCode !== null) throw new Error(`exim ended: ${said}`);
    return greets(port);
  });
  return {
    async end() {
      child.kill('SIGTERM');
      await over;
    },
  };
}

function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('data', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
    socket.setTimeout(2000, () => resolve(false));
  }).finally(() => undefined) as Promise<boolean>;
}

/** All goes into one maildir: exim makes no path of what a sender wrote. */
function configOf({ directory, port, isStrict }: { directory: string; port: number; isStrict: boolean }): string {
  const strict = isStrict ? '  deny !authenticated = *\n    message = authenticate first\n' : '';
  return `spool_directory = ${directory}/spool
log_file_path = ${directory}/log/%s
pid_file_path = ${directory}/spool/exim.pid
primary_hostname = localhost
daemon_smtp_ports = ${port}
local_interfaces = 127.0.0.1
tls_advertise_hosts = *
tls_certificate = ${directory}/cert.pem
tls_privatekey = ${directory}/key.pem
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 50
smtp_accept_queue_per_connection = 0
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
log_selector = +received_recipients

begin acl
rcpt:
${strict}  deny local_parts = nobody
    message = there is nobody of that name
  defer local_parts = later
    message = come again later
  accept

begin routers
all:
  driver = accept
  transport = keep

begin transports
keep:
  driver = appendfile
  directory = ${directory}/mail
  maildir_format
  user = Debian-exim
  envelope_to_add

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = \${if and{{eq{$auth2}{${MAIL_USER}}}{eq{$auth3}{${MAIL_PASSWORD}}}}}
  server_set_id = $auth2
  server_advertise_condition = \${if def:tls_in_cipher}
`;
}

function filesOf(maildir: string): string[] {
  try {
    return readdirSync(path.join(maildir, 'new')).map((name) => path.join(maildir, 'new', name));
  } catch {
    return [];
  }
}

function readLetter(file: string): Letter {
  const whole = readFileSync(file, 'utf8');
  const at = whole.indexOf('\n\n');
  const headers = whole.slice(0, at).replace(/\n[ \t]+/g, ' ');
  const header = (name: string): string => new RegExp(`^${name}: *(.*)$`, 'im').exec(headers)?.[1] ?? '';
  return {
    to: header('Envelope-to'),
    subject: words(header('Subject')),
    messageId: header('Message-ID'),
    text: body(whole.slice(at + 2), header('Content-Transfer-Encoding')),
    headers,
  };
}

/** RFC 2047. */
function words(text: string): string {
  return text
    .replace(/\?=\s+=\?/g, '?==?')
    .replace(/=\?utf-8\?([bq])\?([^?]*)\?=/gi, (_all, kind: string, encoded: string) =>
      kind.toLowerCase() === 'b'
        ? Buffer.from(encoded, 'base64').toString('utf8')
        : quoted(encoded.replaceAll('_', ' ')),
    );
}

function body(text: string, encoding: string): string {
  if (/base64/i.test(encoding)) return Buffer.from(text, 'base64').toString('utf8');
  return /quoted-printable/i.test(encoding) ? quoted(text.replace(/=\r?\n/g, '')) : text;
}

function quoted(text: string): string {
  const bytes = text.replace(/=([0-9A-F]{2})/gi, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return /[\u0080-\u00ff]/.test(bytes) ? Buffer.from(bytes, 'latin1').toString('utf8') : bytes;
}
