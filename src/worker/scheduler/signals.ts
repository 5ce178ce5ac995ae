import { constants } from 'node:os';

/** The name of a signal's number, as Linux counts. */
export function signalName(number: number): string {
  const known = Object.entries(constants.signals).find(([, value]) => value === number);
  return known?.[0] ?? `signal ${number}`;
}

/** What a shell's exit code tells: above 128 a signal ended it. */
export function readShellCode(code: number): { exitCode: number } | { signal: string } {
  return code > 128 && code <= 192 ? { signal: signalName(code - 128) } : { exitCode: code };
}
