import { describe, expect, test } from 'vitest';
import { fillPlaceholders, placeholdersIn, valuesOf } from '../../../src/ground/base/placeholders.ts';

const values = { index: 7, name: 'é x', deep: { a: [1] }, none: null, 'with.dot': 1, 'with-dash': true };
const fill = (text: string) => fillPlaceholders(text, values, (name) => `<no ${name}>`);

describe('placeholders', () => {
  test.each([
    ['no braces at all', 'no braces at all'],
    ['{index}', '7'],
    ['run-{index}-{name}.out', 'run-7-é x.out'],
    ['{index}{index}', '77'],
    ['{deep}', '{"a":[1]}'],
    ['{none}', 'null'],
    ['{with.dot} {with-dash}', '1 true'],
    ['{missing}', '<no missing>'],
    ['{toString}', '<no toString>'],
  ])('%j becomes %j', (text, filled) => expect(fill(text)).toBe(filled));

  test.each([
    ['a variable of the shell', `\${HOME}/\${index}`],
    ['a program of awk', "awk '{print $1}' '{ index }'"],
    ['awk that sums', '{sum+=$1} END{ print sum }'],
    ['braces of the shell', '{1..3} {a,b}'],
    ['empty braces', '{} {{}} {{ }}'],
    ['JSON', '{"index": 1}'],
    ['one brace', '{index'],
    ['a find', 'find . -exec rm {} +'],
  ])('%s stays as it is', (_what, text) => {
    expect(fill(text)).toBe(text);
    expect(placeholdersIn(text)).toEqual([]);
  });

  test('doubled braces are the text itself', () => {
    expect(fill('{{index}} is {index}')).toBe('{index} is 7');
    expect(placeholdersIn('{{index}} is {name}')).toEqual(['name']);
  });

  test('a value that looks like a placeholder is not filled again', () => {
    expect(fillPlaceholders('{a}', { a: '{b} $& $1', b: 'no' }, () => 'missing')).toBe('{b} $& $1');
  });

  test.each([
    ['an object gives its fields', { a: 1 }, { index: 3, a: 1 }],
    ['its own index wins', { index: 'mine' }, { index: 'mine' }],
    ['a text is the item', 'x', { index: 3, item: 'x' }],
    ['a number is the item', 0, { index: 3, item: 0 }],
    ['a list is the item', [1, 2], { index: 3, item: [1, 2] }],
    ['nothing gives the index only', null, { index: 3 }],
    ['no payload gives the index only', undefined, { index: 3 }],
  ])('of a payload: %s', (_what, payload, expected) => expect(valuesOf(payload, 3)).toEqual(expected));
});
