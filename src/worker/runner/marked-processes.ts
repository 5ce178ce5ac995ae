import { readdirSync, readFileSync } from 'node:fs';

/**
 * Every program of ours carries a mark in its environment, `<work directory's id>:<task>:<attempt>`, and hands it down
 * to its children, also those that leave its process group and session. Builtins only: the spawner loads this too.
 */
export const MARK = 'PILOTAGE_ATTEMPT_MARK';

export interface MarkedProcess {
  readonly pid: number;
  readonly startTime: string;
  readonly mark: string;
}

/** All processes of this user whose mark begins with `prefix`, except this one. */
export function findMarked(prefix: string): MarkedProcess[] {
  const found: MarkedProcess[] = [];
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const mark = markOf(pid);
    const startTime = mark?.startsWith(prefix) ? startTimeOf(pid) : undefined;
    if (mark !== undefined && startTime !== undefined) found.push({ pid, startTime, mark });
  }
  return found;
}

/** When a process started, in ticks since boot: with the pid it names a process for good. Undefined when it is gone or a zombie. */
export function startTimeOf(pid: number): string | undefined {
  const fields = statFields(pid);
  return fields === undefined || fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

/** Signals a process if it is still the one that was seen. */
export function signalProcess(target: { pid: number; startTime: string }, signal: NodeJS.Signals): boolean {
  if (startTimeOf(target.pid) !== target.startTime) return false;
  try {
    return process.kill(target.pid, signal);
  } catch {
    return false;
  }
}

/** The fields of /proc/PID/stat after the name, which may itself hold spaces and brackets. */
export function statFields(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

function markOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/environ`, 'latin1');
    const at = text.startsWith(`${MARK}=`) ? 0 : text.indexOf(`\0${MARK}=`) + 1;
    if (at === 0 && !text.startsWith(`${MARK}=`)) return undefined;
    const end = text.indexOf('\0', at);
    return text.slice(at + MARK.length + 1, end === -1 ? undefined : end);
  } catch {
    return undefined;
  }
}
