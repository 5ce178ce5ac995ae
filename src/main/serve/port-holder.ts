import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { systemCode } from '../../ground/base/errors.ts';

/** Which process listens on a TCP port, as far as /proc tells: `node (process 123)`. */
export function portHolder(port: number): string {
  const inodes = new Set(['/proc/net/tcp', '/proc/net/tcp6'].flatMap((table) => listeningInodes(table, port)));
  for (const pid of readable(() => readdirSync('/proc')) ?? []) {
    if (/^\d+$/.test(pid) && holdsOne(pid, inodes))
      return `${(readable(() => readFileSync(`/proc/${pid}/comm`, 'utf8')) ?? '').trim()} (process ${pid})`;
  }
  return 'another program (whose, this account may not see)';
}

/** Columns of /proc/net/tcp: 1 is the local address in hexadecimal, 3 the state (0A listens), 9 the inode. */
function listeningInodes(table: string, port: number): string[] {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  const lines = (readable(() => readFileSync(table, 'utf8')) ?? '').split('\n').map((line) => line.trim().split(/\s+/));
  return lines.flatMap((columns) =>
    columns[1]?.endsWith(`:${wanted}`) && columns[3] === '0A' && columns[9] ? [columns[9]] : [],
  );
}

function holdsOne(pid: string, inodes: ReadonlySet<string>): boolean {
  const files = readable(() => readdirSync(`/proc/${pid}/fd`)) ?? [];
  return files.some((file) =>
    inodes.has(/^socket:\[(\d+)\]$/.exec(readable(() => readlinkSync(`/proc/${pid}/fd/${file}`)) ?? '')?.[1] ?? ''),
  );
}

/** Processes end while one looks, and those of others are not to be seen. */
function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (['ENOENT', 'EACCES', 'EPERM', 'ESRCH'].includes(systemCode(error) ?? '')) return undefined;
    throw error;
  }
}
