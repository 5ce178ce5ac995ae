import { readdirSync, readFileSync } from 'node:fs';

/** How many `sleep <argument>` run on this machine: tests tell their own by the number of seconds. */
export function countSleeps(argument: string): number {
  return pidsOf((command) => command === `sleep\0${argument}\0`).length;
}

export function pidsOf(matches: (command: string) => boolean): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && matches(commandOf(name)))
    .map(Number);
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** What a program wrote of itself with `echo $$ > file`; undefined until it is there. */
export function pidIn(file: string): number | undefined {
  try {
    return Number(readFileSync(file, 'utf8')) || undefined;
  } catch {
    return undefined;
  }
}
