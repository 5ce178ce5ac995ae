import { describe, expect, test } from 'vitest';
import { checkField, doubleNames, linesOf } from '../../../../src/face/dashboard/form/check-field.ts';
import { type Field, fieldsOf, type Value } from '../../../../src/face/dashboard/form/fields.ts';

const field = (property: object, required = true): Field =>
  fieldsOf({ properties: { it: property }, required: required ? ['it'] : [] })[0]!;
const file = (name: string, bytes = 1): File => new File([new Uint8Array(bytes)], name);

describe('what stands in a field', () => {
  test.each<[string, object, Value, string | undefined]>([
    ['a text', { type: 'string' }, 'x', undefined],
    ['nothing', { type: 'string' }, ' ', 'This is needed.'],
    ['too short', { type: 'string', minLength: 3 }, 'ab', 'At least 3 characters, and here are 2.'],
    ['too long', { type: 'string', maxLength: 1 }, 'ab', 'At most 1 character, and here are 2.'],
    ['letters beyond the usual count as one', { type: 'string', maxLength: 1 }, '𝛼', undefined],
    ['another form', { type: 'string', pattern: '^[a-z]+$' }, 'A', 'This does not have the form ^[a-z]+$.'],
    ['a pattern that is none', { type: 'string', pattern: '(' }, 'A', undefined],
    ['a number', { type: 'number' }, '1e3', undefined],
    ['no number', { type: 'number' }, 'many', 'This is not a number.'],
    ['no finite number', { type: 'number' }, 'Infinity', 'This is not a number.'],
    ['no whole number', { type: 'integer' }, '1.5', 'This has to be a whole number.'],
    ['too small', { type: 'number', minimum: 0 }, '-1', 'At least 0.'],
    ['too large', { type: 'number', maximum: 10 }, '11', 'At most 10.'],
    ['at the edge', { type: 'number', exclusiveMinimum: 0 }, '0', 'More than 0.'],
    ['at the other edge', { type: 'number', exclusiveMaximum: 1 }, '1', 'Less than 1.'],
    ['a multiple', { type: 'number', multipleOf: 0.1 }, '0.3', undefined],
    ['no multiple', { type: 'number', multipleOf: 0.1 }, '0.35', 'A multiple of 0.1.'],
    ['a choice', { enum: ['a'] }, 'a', undefined],
    ['no choice', { enum: ['a'] }, 'b', 'Choose one of those listed.'],
    ['lines', { type: 'array', items: { type: 'integer' } }, '1\n\n2\n', undefined],
    ['a wrong line', { type: 'array', items: { type: 'integer' } }, '1\nx', "Line 2, 'x': This is not a number."],
    [
      'too few lines',
      { type: 'array', items: { type: 'string' }, minItems: 2 },
      'a',
      'At least 2 values, and here are 1.',
    ],
    [
      'too many lines',
      { type: 'array', items: { type: 'string' }, maxItems: 1 },
      'a\nb',
      'At most 1 value, and here are 2.',
    ],
    ['JSON', { type: 'object' }, '{"a": 1}', undefined],
    ['an unticked truth', { type: 'boolean' }, false, undefined],
    ['no file', { type: 'string', file: {} }, [], 'Choose a file.'],
    ['a file', { type: 'string', file: { accept: ['.pdb'] } }, [file('A.PDB')], undefined],
    [
      'too few files',
      { type: 'array', items: { file: {} }, minItems: 2 },
      [file('a')],
      'Choose at least 2 files: here are 1.',
    ],
    [
      'too many files',
      { type: 'array', items: { file: {} }, maxItems: 1 },
      [file('a'), file('b')],
      'At most 1 file, and here are 2: remove some.',
    ],
    [
      'another kind of file',
      { type: 'string', file: { accept: ['.pdb'] } },
      [file('a.exe')],
      "'a.exe' is no file for 'it', which takes .pdb.",
    ],
    [
      'a file that is too large',
      { type: 'string', file: { maxBytes: 1024 } },
      [file('a', 1025)],
      "'a' is too large: a file for 'it' may have 1 KiB.",
    ],
    [
      'a name that is none',
      { type: 'string', file: {} },
      [file('.hidden')],
      "A file cannot be called \".hidden\": a name begins with neither '.' nor '-'. Rename it.",
    ],
  ])('%s', (_what, schema, value, said) => expect(checkField(field(schema), value)).toBe(said));

  test('a pattern that can be told in words is told in words', () => {
    const { kind, ...rest } = field({ type: 'string', pattern: '^[^@]+@[^@]+$' });
    const told = { ...rest, kind: { ...kind, patternSays: 'This is no e-mail address.' } } as Field;
    expect(checkField(told, 'somebody')).toBe('This is no e-mail address.');
    expect(checkField(told, 'a@b')).toBe(undefined);
  });

  test('JSON that is none is explained', () =>
    expect(checkField(field({ type: 'object' }), '{')).toMatch(/^This is not JSON: .+\.$/));

  test('nothing, where nothing is needed', () => {
    expect(checkField(field({ type: 'number' }, false), '')).toBe(undefined);
    expect(checkField(field({ type: 'array', items: { type: 'string' }, minItems: 2 }, false), '')).toBe(undefined);
  });
});

test('lines are what is written in them', () => expect(linesOf(' a \r\n\n\tb\n')).toEqual(['a', 'b']));

test('two files of one name are told, also when they belong to two parameters', () => {
  const fields = fieldsOf({ properties: { one: { type: 'string', file: {} }, more: { items: { file: {} } } } });
  const values = new Map<string, Value>([
    ['one', [file('a')]],
    ['more', [file('b'), file('a')]],
  ]);
  expect([...doubleNames(fields, values)]).toEqual([
    ['more', "Two files are called 'a': rename one, or remove it here."],
  ]);
});
