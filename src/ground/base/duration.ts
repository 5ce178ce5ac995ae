import { PilotageError } from './errors.ts';

const UNIT_SECONDS: Readonly<Record<string, number>> = {
  ms: 0.001,
  s: 1,
  m: 60,
  min: 60,
  h: 3600,
  d: 86_400,
  w: 604_800,
  /** Of 365 days. */
  y: 31_536_000,
};

/** Reads `90s`, `1h30m`, `2d`, `250ms`, or a plain number of seconds. Returns seconds. */
export function parseDuration(text: string | number): number {
  if (typeof text === 'number') return checked(text, String(text));
  const plain = text.trim();
  if (/^\d+(\.\d+)?$/.test(plain)) return checked(Number(plain), text);
  if (!/^(\d+(\.\d+)?(ms|s|min|m|h|d|w|y))+$/.test(plain)) throw unreadable(text);
  let seconds = 0;
  for (const [, amount, unit] of plain.matchAll(/(\d+(?:\.\d+)?)(ms|s|min|m|h|d|w|y)/g)) {
    seconds += Number(amount) * (UNIT_SECONDS[unit ?? ''] ?? Number.NaN);
  }
  return checked(seconds, text);
}

/** Writes seconds for people: `850ms`, `12.3s`, `4m05s`, `2h10m`, `3d04h`. */
export function formatDuration(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)}ms`;
  if (seconds < 59.95) return `${Number(seconds.toFixed(1))}s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)}h${two(Math.floor((whole % 3600) / 60))}m`;
  return `${Math.floor(whole / 86_400)}d${two(Math.floor((whole % 86_400) / 3600))}h`;
}

function two(n: number): string {
  return String(n).padStart(2, '0');
}

function checked(seconds: number, text: string): number {
  if (!Number.isFinite(seconds) || seconds < 0 || seconds > 10 * 365 * 86_400) throw unreadable(text);
  return seconds;
}

function unreadable(text: string): PilotageError {
  return new PilotageError(
    'bad-request',
    `'${text}' is not a duration: write '90s', '10m', '1h30m', '2d' or a number of seconds`,
  );
}
