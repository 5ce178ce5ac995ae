import { expect, test } from 'vitest';
import { fillParameters } from '../../../src/server/pool/parameters.ts';

const SCHEMA = {
  type: 'object',
  required: ['cutoff'],
  properties: {
    cutoff: { type: 'number', default: 4, maximum: 20 },
    mode: { anyOf: [{ const: 'fast' }, { const: 'slow' }] },
    chain: { enum: ['A', 'B'] },
  },
};

test.each([
  [{ cutof: 3 }, "there is no parameter 'cutof': did you mean 'cutoff'? (known: cutoff, mode, chain)"],
  [{ mode: 'medium' }, '\'mode\' must be "fast" or "slow"'],
  [{ chain: 'C' }, '\'chain\' must be "A" or "B"'],
  [{ cutoff: 50 }, "'cutoff' must be <= 20"],
])('%j is refused: a slip of the pen is not computed without', (given, said) =>
  expect(() => fillParameters(SCHEMA, given)).toThrow(`parameters of the job: ${said}: nothing was added`),
);

test('what is not given has its default', () =>
  expect(fillParameters(SCHEMA, { mode: 'fast' })).toEqual({ cutoff: 4, mode: 'fast' }));

test('a schema that says so takes what it does not name', () =>
  expect(fillParameters({ ...SCHEMA, additionalProperties: true } as object, { more: 1 })).toEqual({
    cutoff: 4,
    more: 1,
  }));
