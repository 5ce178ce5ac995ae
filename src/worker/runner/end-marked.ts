import { setTimeout as wait } from 'node:timers/promises';
import { findMarked, type MarkedProcess, signalProcess } from './marked-processes.ts';

/** How long what is asked to end may take before it is killed. */
const TERM_MS = 2000;
const LOOK_EVERY_MS = 20;
/** What does not even die of KILL (a process stuck in the kernel) is given up on. */
const KILL_MS = 2000;

/** Ends all processes with such a mark. Resolves when they are gone; says how many there were. */
export async function endMarked(
  prefix: string,
  wanted: (process: MarkedProcess) => boolean = () => true,
): Promise<number> {
  const look = (): MarkedProcess[] => findMarked(prefix).filter(wanted);
  const first = look();
  for (const target of first) signalProcess(target, 'SIGTERM');
  if (await goneWithin(TERM_MS, look)) return first.length;
  const deadline = performance.now() + KILL_MS;
  while (performance.now() < deadline) {
    for (const target of look()) signalProcess(target, 'SIGKILL');
    if (await goneWithin(LOOK_EVERY_MS * 2, look)) break;
  }
  return first.length;
}

async function goneWithin(ms: number, look: () => readonly MarkedProcess[]): Promise<boolean> {
  const deadline = performance.now() + ms;
  for (;;) {
    if (look().length === 0) return true;
    if (performance.now() >= deadline) return false;
    await wait(LOOK_EVERY_MS);
  }
}
