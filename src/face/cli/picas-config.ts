import { lstatSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { PilotageError, systemCode } from '../../ground/base/errors.ts';
import type { ProjectCredentials } from '../../ground/protocol/project.ts';

/** What PiCaS reads, by its own name. */
const FILE = 'picasconfig.py';
const CERTIFICATE = 'pilotage-certificate.pem';

/** Rejects a directory that others may enter, and a file in it that they may read, with what to do. Makes what is missing. */
export function requirePrivate(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  refuseLoose(directory, '700');
  refuseLoose(path.join(directory, FILE), '600');
}

function refuseLoose(file: string, mode: string): void {
  try {
    const found = lstatSync(file);
    if (found.isSymbolicLink())
      throw new PilotageError('bad-request', `${file} is a symbolic link: give the place itself`);
    if ((found.mode & 0o077) === 0) return;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return;
    throw error;
  }
  throw new PilotageError(
    'bad-request',
    `others on this machine may read ${file}, where the password would be: 'chmod ${mode} ${file}' closes it; nothing was changed`,
  );
}

/** The server's port for clients of CouchDB, TLS before plain, or its own address with `/couchdb`. */
export function couchdbUrl({ ports }: ProjectCredentials, server: string): string {
  const port = ports.find((one) => one.secure) ?? ports[0];
  if (!port) return `${server.replace(/\/$/, '')}/couchdb`;
  const { hostname } = new URL(server);
  // Whoever reaches the server by a name reaches its other ports by the same one, unless they are this machine's own.
  const isLocal = port.host === 'localhost' || port.host === '::1' || port.host.startsWith('127.');
  const host = isLocal ? (port.host.includes(':') ? `[${port.host}]` : port.host) : hostname;
  return `${port.secure ? 'https' : 'http'}://${host}:${port.port}`;
}

export function writePicasConfig(directory: string, made: ProjectCredentials & { readonly url: string }): string[] {
  const lines = [
    ['PICAS_HOST_URL', made.url],
    ['PICAS_DATABASE', made.database],
    ['PICAS_USERNAME', made.user],
    ['PICAS_PASSWORD', made.password],
  ].map(([name, value]) => `${name} = ${JSON.stringify(value)}\n`);
  const files = [write(directory, FILE, lines.join(''))];
  const needsCertificate = made.certificate !== null && made.url.startsWith('https:');
  if (needsCertificate) files.push(write(directory, CERTIFICATE, made.certificate ?? ''));
  return files;
}

/** Whole or not at all: a script may read it at this moment. */
function write(directory: string, name: string, text: string): string {
  const file = path.join(directory, name);
  writeFileSync(`${file}.part`, text, { mode: 0o600 });
  renameSync(`${file}.part`, file);
  return file;
}

export function describeFiles(project: string, user: string, url: string, files: readonly string[]): string {
  const [config = '', certificate] = files;
  const lines = [
    `project ${project}: user '${user}' at ${url}; a password that was there before is no longer good`,
    `  ${config} holds it; for PiCaS: export PYTHONPATH=${path.dirname(config)}:$PYTHONPATH`,
  ];
  if (certificate !== undefined)
    lines.push(`  nobody signed the server's certificate, so trust this one: export SSL_CERT_FILE=${certificate}`);
  return lines.join('\n');
}
