import { expect, test } from 'vitest';
import { gather } from '../../../src/worker/agent/gather.ts';

function counting(spacingMs: number) {
  const calls: { readonly those: readonly number[]; readonly at: number }[] = [];
  const ask = gather(async (those: readonly number[]) => {
    calls.push({ those, at: performance.now() });
    if (those.includes(13)) throw new Error('unlucky');
    return new Map(those.map((one) => [one, one * 2]));
  }, spacingMs);
  return { calls, ask };
}

test('what is asked at once is asked together, and each gets its answer', async () => {
  const { calls, ask } = counting(0);
  const numbers = Array.from({ length: 1000 }, (_, at) => at + 100);
  const answers = await Promise.all(numbers.map(async (one) => (await ask(one)).get(one)));
  expect(answers).toEqual(numbers.map((one) => one * 2));
  expect(calls.length).toBeLessThan(3);
});

test('what comes later waits for its time, and goes together', async () => {
  const { calls, ask } = counting(200);
  await ask(1);
  await Promise.all([ask(2), ask(3), ask(4)]);
  expect(calls.map(({ those }) => those)).toEqual([[1], [2, 3, 4]]);
  expect((calls[1]?.at ?? 0) - (calls[0]?.at ?? 0)).toBeGreaterThan(190);
});

test('a failure is told to those it concerns, and the next go on', async () => {
  const { ask } = counting(0);
  await expect(Promise.all([ask(12), ask(13)])).rejects.toThrow('unlucky');
  expect((await ask(14)).get(14)).toBe(28);
});
