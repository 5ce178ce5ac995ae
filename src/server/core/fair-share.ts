/**
 * Between the owners of tasks the next slot goes to who has had least of late, by weight. Usage is slots times seconds,
 * fading with a half-life: what was used one half-life ago counts half. What runs counts for what it has used so far, and
 * for one minute that it will use, so that slots handed out in one moment are shared out too.
 */
import type { Shape } from './shape.ts';

export const DEFAULT_HALF_LIFE_MS = 86_400_000;
/** What a slot that is taken counts for beyond what it has used, in seconds. */
export const EXPECTED_SECONDS = 60;

/** `slotSeconds` as of `at`; `slots` are in use since then. Usage is linear: a difference is written as an account too. */
export interface Account {
  readonly slotSeconds: number;
  readonly slots: number;
  readonly tasks: number;
  /** Milliseconds. */
  readonly at: number;
}

export const NO_USAGE: Account = { slotSeconds: 0, slots: 0, tasks: 0, at: 0 };

/** What a task of this shape takes: also one that asks for no core takes a place. */
export function slotsOf(shape: Pick<Shape, 'cpus'>): number {
  return Math.max(1, shape.cpus);
}

/** The sum of accounts and differences, as of `now`: each has faded, and grown by what ran, since its own time. */
export function sumAccounts(accounts: readonly Account[], now: number, halfLifeMs: number): Account {
  const sum = { slotSeconds: 0, slots: 0, tasks: 0, at: now };
  // Seconds that one slot counts for which has been in use for ever.
  const whole = halfLifeMs / 1000 / Math.LN2;
  for (const { slotSeconds, slots, tasks, at } of accounts) {
    const left = 2 ** (-Math.max(0, now - at) / halfLifeMs);
    sum.slotSeconds += slotSeconds * left + slots * whole * (1 - left);
    sum.slots += slots;
    sum.tasks += tasks;
  }
  return sum;
}

/** Who has less of it comes first. */
export function burden({ slotSeconds, slots }: Account, weight: number): number {
  return (slotSeconds + slots * EXPECTED_SECONDS) / weight;
}

/** Somebody whose tasks wait. */
export interface Sharer {
  readonly weight: number;
  readonly burden: number;
}

/** The one who comes next; of equals the first. */
export function nextSharer<S extends Sharer>(sharers: readonly S[]): S | undefined {
  return sharers.reduce<S | undefined>((least, one) => (least && least.burden <= one.burden ? least : one), undefined);
}

/**
 * How many tasks (of `slots` each, `room` of which fit) the next one takes before another comes: until they are even, and
 * half of the own part of what is left at least, so that many slots are shared out in few turns, the last ones singly.
 */
export function turnOf(
  next: Sharer,
  others: readonly Sharer[],
  { slots, room }: { slots: number; room: number },
): number {
  const second = nextSharer(others);
  if (!second) return room;
  const even = Math.floor(((second.burden - next.burden) * next.weight) / (EXPECTED_SECONDS * slots));
  const weights = others.reduce((sum, one) => sum + one.weight, next.weight);
  const part = Math.floor((room * next.weight) / weights / 2);
  return Math.min(room, Math.max(1, even, part));
}

export function addBurden<S extends Sharer>(sharer: S, slots: number): S {
  return { ...sharer, burden: sharer.burden + (slots * EXPECTED_SECONDS) / sharer.weight };
}
