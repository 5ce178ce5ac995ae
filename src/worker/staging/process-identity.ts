import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** A process for good: numbers are given again, but not with the same start in the same boot. */
export interface ProcessIdentity {
  readonly host: string;
  readonly boot: string;
  /** Its space of process numbers: a container has one of its own, and there the numbers mean something else. */
  readonly space?: string;
  readonly pid: number;
  readonly startTime: string;
}

let mine: ProcessIdentity | undefined;

export function thisProcess(): ProcessIdentity {
  mine ??= {
    host: hostname(),
    boot: readable(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()),
    space: readable(() => readlinkSync('/proc/self/ns/pid')),
    pid: process.pid,
    startTime: startTimeOf(process.pid) ?? '',
  };
  return mine;
}

/** What cannot be seen from here (another host, another container) counts as alive. */
export function isAlive(owner: ProcessIdentity): boolean {
  const me = thisProcess();
  if (owner.boot !== me.boot) return owner.host !== me.host;
  return isElsewhere(owner) || startTimeOf(owner.pid) === owner.startTime;
}

/** Is it in a container whose processes are not seen from here, or this one in such? */
export function isElsewhere(owner: ProcessIdentity): boolean {
  return owner.space !== undefined && owner.space !== '' && owner.space !== thisProcess().space;
}

/** When a process started, in ticks since boot. Undefined when it is gone or a zombie. */
function startTimeOf(pid: number): string | undefined {
  const text = readable(() => readFileSync(`/proc/${pid}/stat`, 'latin1'));
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return text === '' || fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

function readable(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}
