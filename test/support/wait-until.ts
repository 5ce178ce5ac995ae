import { setTimeout as pause } from 'node:timers/promises';

/** Looks again and again until there is something to see (neither false, null nor undefined). Says what it waited for when there never was. */
export async function waitUntil<T>(
  what: string,
  look: () => Promise<T> | T,
  seconds = 30,
): Promise<Exclude<T, undefined | null | false>> {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== null && seen !== false) return seen as Exclude<T, undefined | null | false>;
    if (performance.now() > deadline) throw new Error(`waited ${seconds} s in vain for: ${what}`);
    await pause(20);
  }
}
