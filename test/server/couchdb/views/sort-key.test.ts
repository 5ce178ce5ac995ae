import { describe, expect, test } from 'vitest';
import { compareBytes, toSortKey } from '../../../../src/server/couchdb/views/sort-key.ts';

const compare = (a: unknown, b: unknown): number => Math.sign(compareBytes(toSortKey(a), toSortKey(b)));

/** https://docs.couchdb.org/en/stable/ddocs/views/collation.html#collation-specification */
const ORDER: readonly unknown[] = [
  null,
  false,
  true,
  -1e300,
  -1.5,
  -1,
  -1e-300,
  0,
  5e-324,
  1,
  2,
  3,
  4,
  1e21,
  1.7976931348623157e308,
  'a',
  'A',
  'aa',
  'b',
  'B',
  'ba',
  'bb',
  [],
  ['a'],
  ['a', 'a'],
  ['b'],
  ['b', 'c'],
  ['b', 'c', 'a'],
  ['b', 'd'],
  ['b', 'd', 'e'],
  {},
  { a: 1 },
  { a: 2 },
  { b: 1 },
  { b: 2 },
  { b: 2, a: 1 },
  { b: 2, c: 2 },
];

describe('keys sort as in CouchDB', () => {
  test('values of every kind come in the order that its documentation gives', () => {
    for (let a = 0; a < ORDER.length; a++)
      for (let b = 0; b < ORDER.length; b++)
        expect([ORDER[a], ORDER[b], compare(ORDER[a], ORDER[b])]).toEqual([ORDER[a], ORDER[b], Math.sign(a - b)]);
  });

  test('minus zero is zero, and one is one however it is written', () => {
    expect(compare(-0, 0)).toBe(0);
    expect(compare(JSON.parse('1.0'), 1)).toBe(0);
  });

  test('nothing is null', () => {
    expect(compare(undefined, null)).toBe(0);
  });

  test('a key that nests too deep is refused, not answered with an exhausted stack', () => {
    let deep: unknown = 1;
    for (let level = 0; level < 100_000; level++) deep = [deep];
    expect(() => toSortKey(deep)).toThrowError(/deeper than 200/);
  });
});

const collator = new Intl.Collator('en', { sensitivity: 'variant' });

/** [name, characters, the most pairs of random strings in a thousand that may come out otherwise than in ICU] */
const ALPHABETS: ReadonlyArray<readonly [string, string, number]> = [
  ['ids and words', 'abcxyzABCXYZ0123456789_-./: ~@#', 0],
  ['all of ASCII', Array.from({ length: 95 }, (_, at) => String.fromCharCode(32 + at)).join(''), 0],
  ['accents', 'aeiouAEIOUáéíóúàèäëïöüÄÖÜñçÇåÅøØæÆœßđłŁž', 0],
  ['Greek and Cyrillic', 'αβγδάέΑΒΓΔабвгдйёАБВГДЙЁabc1', 0],
  ['Chinese, Japanese, Korean', '中文字典日本語一二三ab1가나다각', 0],
  ['emoji and signs', '😀😃🚀🎉a1€£$±×÷«»“”…–—', 0],
  ['Hebrew and Arabic', 'אבגדהابتثجab1 ', 0],
];

describe('strings sort as ICU sorts them', () => {
  test.each(ALPHABETS)('%s', (_name, alphabet, allowed) => {
    const characters = [...alphabet];
    const draw = randomNumbers(7);
    const wrong: string[] = [];
    for (let round = 0; round < 5000; round++) {
      const a = word(characters, draw);
      const b = draw(4) === 0 ? a + characters[draw(characters.length)] : word(characters, draw);
      if (Math.sign(collator.compare(a, b)) !== compare(a, b)) wrong.push(`${a}|${b}`);
    }
    expect(wrong.slice(0, 10 + allowed)).toHaveLength(0);
  });

  test('of any characters of the common plane nearly all pairs come out as in ICU', () => {
    const draw = randomNumbers(11);
    let wrong = 0;
    for (let round = 0; round < 5000; round++) {
      const [a, b] = [anyWord(draw), anyWord(draw)];
      if (Math.sign(collator.compare(a, b)) !== compare(a, b)) wrong++;
    }
    console.log(`pairs of random characters that come out otherwise than in ICU: ${wrong} of 5000`);
    expect(wrong).toBeLessThan(150);
  });
});

function word(characters: readonly string[], draw: (below: number) => number): string {
  return Array.from({ length: draw(5) }, () => characters[draw(characters.length)]).join('');
}

function anyWord(draw: (below: number) => number): string {
  const text = Array.from({ length: 1 + draw(3) }, () => String.fromCodePoint(draw(0xd800))).join('');
  return /\p{Cn}/u.test(text) ? 'a' : text;
}

/** Numerical Recipes' generator: the same numbers in every run. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
