import { expect, test } from 'vitest';
import { shownState } from '../../../src/server/core/submission.ts';

test.each([
  ['queued', 'waiting', 'waiting'],
  ['queued', 'open', 'queued'],
  ['waiting', 'open', 'waiting'],
  ['cancelled', 'waiting', 'cancelled'],
  ['failed', 'waiting', 'failed'],
] as const)('a row that says %s behind a gate that is %s is shown as %s', (state, gate, shown) => {
  expect(shownState(state, gate)).toBe(shown);
});
