/**
 * What is told to people and programs about a service: notices, which travel in letters. A letter goes to one address;
 * one about failures collects notices until it is sent first, so that a flood of failures makes few letters.
 */
export type NoticeKind = 'completed' | 'failed' | 'host-failed' | 'event';
export type Channel = 'mail' | 'hook';

/** Told to all servers of a database when there is something to deliver. */
export const NOTICED = 'n';

/** How failures are grouped, in milliseconds: the first window of a flood, and the longest. */
export interface WindowSettings {
  readonly windowMs: number;
  readonly longestWindowMs: number;
}

/** May several notices of this kind go into one letter? */
export function isGrouped(kind: NoticeKind): boolean {
  return kind === 'failed' || kind === 'host-failed';
}

/** The window that a letter opened when it was sent first: what comes before its end waits for it. */
export interface Window {
  readonly quietUntil: number;
  readonly windowMs: number;
}

/** When a new letter goes out, and the window that it waited for: 0 if none. */
export function departureOf(
  now: number,
  last: Window | undefined,
): { readonly dueAt: number; readonly delayedBy: number } {
  if (last === undefined || last.quietUntil <= now) return { dueAt: now, delayedBy: 0 };
  return { dueAt: last.quietUntil, delayedBy: last.windowMs };
}

/** The window that a letter opens; it doubles from letter to letter while the flood goes on. */
export function windowAfter(delayedBy: number, { windowMs, longestWindowMs }: WindowSettings): number {
  return delayedBy === 0 ? windowMs : Math.min(2 * delayedBy, Math.max(windowMs, longestWindowMs));
}

/** Pauses between the tries of one letter, and how long it is tried, in milliseconds. */
export interface RetrySettings {
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
  readonly giveUpMs: number;
}

export type TryOutcome = 'sent' | 'refused' | 'failed';
export type Tried = { readonly state: 'sent' | 'given-up' } | { readonly state: 'waiting'; readonly dueAt: number };

/** What becomes of a letter after its try number `tries`: refused for good, or once more after a pause that grows. */
export function judgeTry(
  { outcome, tries, firstTryAt, now }: { outcome: TryOutcome; tries: number; firstTryAt: number; now: number },
  { firstPauseMs, longestPauseMs, giveUpMs }: RetrySettings,
): Tried {
  if (outcome === 'sent') return { state: 'sent' };
  if (outcome === 'refused' || now - firstTryAt >= giveUpMs) return { state: 'given-up' };
  return { state: 'waiting', dueAt: now + Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(30, tries - 1)) };
}
