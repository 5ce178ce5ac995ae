import { randomUUID } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { PilotageError } from '../../ground/base/errors.ts';

/** The small files of a data directory: where the server is, what opens it, which port it keeps. */
export interface ServerFiles {
  /** The administrator's token; made by `make` unless it is there. */
  adminToken(make: () => string): string;
  /** What secret links of jobs are made from; made by `make` unless it is there. */
  linkKey(make: () => string): string;
  /** A file that only its owner may read. */
  keepSecret(file: string, text: string): void;
  keepOpen(file: string, text: string): void;
  keptPort(): number | undefined;
  keepPort(port: number): void;
  /** Where neighbours may still look for this server. */
  earlierPorts(): number[];
  keepEarlierPorts(ports: readonly number[]): void;
  announce(facts: { url: string; pid: number; fingerprint: string | null; version: string }): void;
  withdraw(): void;
}

export function serverFiles(directory: string): ServerFiles {
  const path = (name: string) => join(directory, name);
  return {
    adminToken: (make) => secret(path('admin-token'), make),
    linkKey: (make) => secret(path('link-key'), make),
    keepSecret: (file, text) => write(file, text, 0o600),
    keepOpen: (file, text) => write(file, text, 0o644),
    keptPort: () => (existsSync(path('port')) ? toPort(readFileSync(path('port'), 'utf8'), path('port')) : undefined),
    keepPort: (port) => write(path('port'), `${port}\n`, 0o644),
    earlierPorts: () =>
      existsSync(path('earlier-ports'))
        ? readFileSync(path('earlier-ports'), 'utf8').split('\n').map(Number).filter(isPort)
        : [],
    keepEarlierPorts: (ports) =>
      ports.length === 0
        ? rmSync(path('earlier-ports'), { force: true })
        : write(path('earlier-ports'), ports.join('\n'), 0o644),
    announce: (facts) => write(path('server.json'), `${JSON.stringify(facts, null, 2)}\n`, 0o644),
    withdraw: () => rmSync(path('server.json'), { force: true }),
  };
}

function secret(path: string, make: () => string): string {
  if (!existsSync(path)) write(path, `${make()}\n`, 0o600);
  chmodSync(path, 0o600);
  return readFileSync(path, 'utf8').trim();
}

function toPort(text: string, path: string): number {
  const port = Number(text.trim());
  if (isPort(port)) return port;
  throw new PilotageError(
    'storage-failed',
    `${path} should hold the port that this server keeps, but says '${text.trim().slice(0, 40)}': write the port into it, or remove it to have another one chosen`,
  );
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port > 0 && port < 65_536;
}

/** Whole or not at all, whatever happens meanwhile. */
function write(path: string, text: string, mode: number): void {
  const temporary = `${path}.${randomUUID()}`;
  writeFileSync(temporary, text, { mode });
  const file = openSync(temporary, 'r');
  fsyncSync(file);
  closeSync(file);
  renameSync(temporary, path);
}
