import { hash, timingSafeEqual } from 'node:crypto';

export function sha256(text: string): string {
  return hash('sha256', text, 'hex');
}

/** Tells which password somebody has, and nothing of it: another one once it is changed. `hash`: null without one. */
export function passwordMark(hash: string | null): string {
  return sha256(hash ?? '');
}

/** Compares two hashes in a time that does not depend on where they differ. */
export function sameHash(a: string, b: string): boolean {
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  return left.length === right.length && timingSafeEqual(left, right);
}

/** The secret of an attempt: whoever has the session's secret can make it again, and nobody else. */
export function attemptSecret(sessionSecret: string, submission: number, idx: number, attempt: number): string {
  return sha256(`${sessionSecret}:${submission}.${idx}/${attempt}`);
}
