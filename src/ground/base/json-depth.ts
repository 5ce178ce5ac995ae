/**
 * Says whether a value nests deeper than `limit` objects and arrays. Iterative, because the values that it is there
 * to find are the ones that would exhaust the stack.
 */
export function isDeeperThan(value: unknown, limit: number): boolean {
  const open: Array<{ value: unknown; depth: number }> = [{ value, depth: 0 }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (typeof next.value !== 'object' || next.value === null) continue;
    if (next.depth >= limit) return true;
    for (const child of Object.values(next.value)) {
      if (typeof child === 'object' && child !== null) open.push({ value: child, depth: next.depth + 1 });
    }
  }
  return false;
}
