import { parseDuration } from '../../../ground/base/duration.ts';
import { PilotageError } from '../../../ground/base/errors.ts';

/** Reads a time of day (`2026-11-30 18:00`, RFC 3339, local unless it names a zone) or a duration from now. */
export function parsePointInTime(text: string, now: Date): string {
  return parseTime(text, (seconds) => now.getTime() + seconds * 1000, 'from now');
}

/** The same, but a duration goes back. */
export function parsePastTime(text: string, now: Date): string {
  return parseTime(text, (seconds) => now.getTime() - seconds * 1000, 'ago');
}

function parseTime(text: string, after: (seconds: number) => number, way: string): string {
  const plain = text.trim();
  const time = /^\d{4}-\d{2}-\d{2}/.test(plain)
    ? Date.parse(plain.replace(' ', 'T').replace(/^([\d-]{10})$/, '$1T00:00'))
    : Number.NaN;
  if (Number.isFinite(time)) return new Date(time).toISOString();
  try {
    return new Date(after(parseDuration(plain))).toISOString();
  } catch (error) {
    throw new PilotageError(
      'bad-request',
      `'${text}' is not a time: write '2026-11-30 18:00', or '2h' for two hours ${way}`,
      {
        cause: error,
      },
    );
  }
}
