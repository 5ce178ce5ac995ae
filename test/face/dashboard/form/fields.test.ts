import Type from 'typebox';
import { describe, expect, test } from 'vitest';
import { type Field, fieldsOf } from '../../../../src/face/dashboard/form/fields.ts';

/** As it travels: what is no JSON is gone. */
const only = (property: object, required = true): Field => {
  const schema = { type: 'object', properties: { it: property }, ...(required ? { required: ['it'] } : {}) };
  return fieldsOf(JSON.parse(JSON.stringify(schema)))[0]!;
};

describe('the field of a parameter', () => {
  test.each([
    ['text', Type.String({ maxLength: 20 }), { kind: 'text', isLong: false, inputType: 'text', maxLength: 20 }],
    ['text without an end', Type.String(), { kind: 'text', isLong: true }],
    ['an address', Type.String({ format: 'email' }), { kind: 'text', isLong: false, inputType: 'email' }],
    ['a text of a form', Type.String({ pattern: '^x+$' }), { kind: 'text', isLong: false, pattern: '^x+$' }],
    ['a whole number', Type.Integer({ minimum: 1, maximum: 9 }), { kind: 'number', isInteger: true, min: 1, max: 9 }],
    ['a number', Type.Number({ multipleOf: 0.5 }), { kind: 'number', isInteger: false, step: 0.5 }],
    ['a truth', Type.Boolean(), { kind: 'truth' }],
    [
      'literals',
      Type.Union([Type.Literal('a'), Type.Literal(2)]),
      { kind: 'choice', choices: [{ text: 'a' }, { text: '2' }] },
    ],
    ['an enum', { enum: ['x', 'y'] }, { kind: 'choice', choices: [{ text: 'x', label: 'x' }, { text: 'y' }] }],
    ['several of some', Type.Array({ enum: ['x', 'y'] } as never, { uniqueItems: true }), { kind: 'choices' }],
    ['a list of texts', Type.Array(Type.String(), { maxItems: 3 }), { kind: 'lines', of: { kind: 'text' }, most: 3 }],
    ['a list of numbers', Type.Array(Type.Integer()), { kind: 'lines', of: { kind: 'number', isInteger: true } }],
    ['an object', Type.Object({ a: Type.String() }), { kind: 'json' }],
    ['a list of lists', Type.Array(Type.Array(Type.String())), { kind: 'json' }],
    ['anything', Type.Unknown(), { kind: 'json' }],
    [
      'a file',
      { type: 'string', file: { accept: ['.pdb'] } },
      { kind: 'files', least: 1, parameter: { isList: false, accept: ['.pdb'] } },
    ],
    [
      'files',
      { type: 'array', items: { type: 'string', file: {} }, minItems: 2 },
      { kind: 'files', least: 2, parameter: { isList: true } },
    ],
  ])('%s', (_what, schema, kind) => expect(only(schema).kind).toMatchObject(kind));

  test('a list that has to be there may be empty, unless the schema says otherwise', () => {
    const [texts, files] = [Type.Array(Type.String()), { type: 'array', items: { type: 'string', file: {} } }];
    for (const list of [texts, files]) {
      expect(only(list)).toMatchObject({ isRequired: false, isEmptyList: true });
      expect(only({ ...list, minItems: 1 })).toMatchObject({ isRequired: true });
      expect(only(list, false)).toMatchObject({ isRequired: false, isEmptyList: false });
    }
  });

  test('a file that need not be there need not be chosen', () =>
    expect(only({ type: 'string', file: {} }, false).kind).toMatchObject({ kind: 'files', least: 0 }));

  test('what may be null and left out is left out', () => {
    const nullable = Type.Union([Type.Integer(), Type.Null()], { default: null });
    expect(only(nullable, false)).toMatchObject({ kind: { kind: 'number' }, initial: '' });
    expect(only(Type.Union([Type.Integer(), Type.Null()])).kind).toEqual({ kind: 'json' });
  });

  test('its title, description and default are its label, its help and what stands in it', () => {
    const schema = Type.Integer({ title: 'Rounds', description: 'How many.', default: 3 });
    expect(only(schema)).toMatchObject({ label: 'Rounds', help: 'How many.', initial: '3', isRequired: false });
    expect(only(Type.String())).toMatchObject({ label: 'it', help: undefined, initial: '', isRequired: true });
    expect(only(Type.Boolean({ default: true })).initial).toBe(true);
    expect(only(Type.Array(Type.Integer(), { default: [1, 2] })).initial).toBe('1\n2');
    expect(only(Type.Object({}, { default: { a: 1 } })).initial).toBe('{\n  "a": 1\n}');
  });

  test('a schema without properties has none', () => expect(fieldsOf({ type: 'object' })).toEqual([]));

  test('a name may be anything', () => {
    const [field] = fieldsOf(JSON.parse('{"properties": {"__proto__": {"type": "string", "title": 7}}}'));
    expect(field).toMatchObject({ name: '__proto__', label: '__proto__' });
  });
});
