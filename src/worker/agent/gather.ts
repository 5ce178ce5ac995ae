/**
 * Makes one call of many: the first goes at once, and what comes while it is under way, or sooner than `spacingMs` after
 * it began, goes together in the next. So a thousand jobs that are cancelled together are a few commands.
 */
export function gather<One, Answer>(
  act: (those: readonly One[]) => Promise<Answer>,
  spacingMs: number,
): (one: One) => Promise<Answer> {
  let waiting: { readonly one: One; readonly resolve: (answer: Promise<Answer>) => void }[] = [];
  let isPlanned = false;
  let nextAt = 0;

  const plan = (): void => {
    if (isPlanned || waiting.length === 0) return;
    isPlanned = true;
    setTimeout(() => void go(), Math.max(0, nextAt - performance.now()));
  };
  const go = async (): Promise<void> => {
    const those = waiting;
    waiting = [];
    nextAt = performance.now() + spacingMs;
    const answer = act(those.map(({ one }) => one));
    for (const { resolve } of those) resolve(answer);
    await answer.catch(() => {});
    isPlanned = false;
    plan();
  };
  return (one) => {
    const { promise, resolve } = Promise.withResolvers<Answer>();
    waiting.push({ one, resolve });
    plan();
    return promise;
  };
}
