/** Acts on the next few of a list at once, and gives the answers in the list's order. */
export async function* aheadInOrder<T, R>(
  from: AsyncIterable<T>,
  width: number,
  act: (one: T) => Promise<R>,
): AsyncIterable<R> {
  const open: Promise<R>[] = [];
  for await (const one of from) {
    const answer = act(one);
    // Its failure is met when its turn comes, not before.
    answer.catch(() => {});
    open.push(answer);
    if (open.length >= width) yield await (open.shift() as Promise<R>);
  }
  for (const answer of open) yield await answer;
}
