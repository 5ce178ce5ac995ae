import { inLanes } from '../content/in-lanes.ts';
import { LARGE_BYTES, LARGE_LANES, SMALL_LANES } from './file-store.ts';

/**
 * Moves small files many at a time, then large ones a few at a time. Not both at once: on most file systems the fsync
 * of a small file waits for what was written of a large one.
 */
export async function transferAll<T extends { readonly size: number }>(
  items: readonly T[],
  act: (item: T) => Promise<void>,
): Promise<void> {
  const isLarge = ({ size }: T): boolean => size >= LARGE_BYTES;
  await inLanes(
    items.filter((item) => !isLarge(item)),
    SMALL_LANES,
    act,
  );
  await inLanes(items.filter(isLarge), LARGE_LANES, act);
}
