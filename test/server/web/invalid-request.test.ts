import { describe, expect, test } from 'vitest';
import { describeInvalid, isInvalid } from '../../../src/server/web/invalid-request.ts';

type Complaint = Parameters<typeof describeInvalid>[0]['validation'][number];
const of = (...validation: readonly Partial<Complaint>[]) =>
  describeInvalid({
    validationContext: 'body',
    validation: validation.map((one) => ({ instancePath: '', keyword: 'type', params: {}, ...one })),
  });

describe('what is said of an invalid request', () => {
  test('where it is wrong, and what', () => {
    expect(of({ instancePath: '/steps/0/priority', message: 'must be integer' })).toBe(
      'body/steps/0/priority: must be integer',
    );
    expect(of({ message: 'must be object' })).toBe('the body: must be object');
  });

  test('for an unknown key the nearest known one, and all that are known', () => {
    const said = of({
      instancePath: '/steps/0',
      keyword: 'additionalProperties',
      message: 'must NOT have additional properties',
      params: { additionalProperty: 'comand' },
      parentSchema: { properties: { command: {}, env: {}, inputs: {} } },
    });
    expect(said).toBe("body/steps/0: unknown key 'comand': did you mean 'command'? (known: command, env, inputs)");
  });

  test('an unknown key where none is known is named', () => {
    expect(of({ keyword: 'additionalProperties', params: { additionalProperty: 'x' } })).toBe(
      "the body: unknown key 'x'",
    );
  });

  test('what a text has to be in words, where the schema has them', () => {
    const parentSchema = { description: 'a name of at most 64 letters' };
    const complaint = { instancePath: '/name', keyword: 'pattern', message: 'must match pattern "^x$"', parentSchema };
    expect(of(complaint)).toBe('body/name: this has to be a name of at most 64 letters');
    expect(of({ ...complaint, keyword: 'type', message: 'must be string' })).toBe('body/name: must be string');
  });

  test('what the value has to be, where there is one', () => {
    expect(of({ keyword: 'const', message: 'must be equal to constant', params: { allowedValue: 1 } })).toBe(
      'the body: must be equal to constant (1)',
    );
  });

  test('of the branches of a union the one that got furthest', () => {
    const said = of(
      { keyword: 'anyOf', message: 'must match a schema in anyOf' },
      { keyword: 'const', message: 'must be equal to constant', instancePath: '/steps' },
      { instancePath: '/steps/3/after', message: 'must be array' },
    );
    expect(said).toBe('body/steps/3/after: must be array');
  });

  test('without a complaint it is still a sentence', () => {
    expect(of()).toBe('the request is not what this call takes');
  });

  test.each([
    [{ validation: [] }, true],
    [new Error('x'), false],
    [null, false],
    [{ validation: 'no' }, false],
  ])('%o is one: %s', (error, is) => expect(isInvalid(error)).toBe(is));
});
