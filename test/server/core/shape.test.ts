import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Capacity,
  countFitting,
  fits,
  isShapeKey,
  obstacles,
  parseShapeKey,
  type Shape,
  shapeKey,
  smaller,
  subtract,
  type WorkerFacts,
} from '../../../src/server/core/shape.ts';

const SHAPE: Shape = { kind: 'command', cpus: 1, memory: 0, gpus: 0, named: {}, labels: {}, timeRequestSeconds: 0 };
const TOTAL: Capacity = { cpus: 4, memory: 8e9, gpus: 1, named: { licence: 2 } };
const WORKER: WorkerFacts = { kinds: ['command'], total: TOTAL, labels: { site: 'a' }, remainingSeconds: 3600 };

describe('does a task fit a worker', () => {
  test.each<[string, Partial<Shape>, string[]]>([
    ['the least', {}, []],
    ['all that there is', { cpus: 4, memory: 8e9, gpus: 1, named: { licence: 2 }, timeRequestSeconds: 3600 }, []],
    ['no cpu at all', { cpus: 0 }, []],
    ['another kind', { kind: 'payload' }, ['kind']],
    ['too many cpus', { cpus: 4.5 }, ['cpus']],
    ['too much memory', { memory: 8e9 + 1 }, ['memory']],
    ['too many gpus', { gpus: 2 }, ['gpus']],
    ['too much of a named resource', { named: { licence: 3 } }, ['named:licence']],
    ['a named resource that is not there', { named: { scanner: 1 } }, ['named:scanner']],
    ['a label that is there', { labels: { site: 'a' } }, []],
    ['a label with another value', { labels: { site: 'b' } }, ['label']],
    ['a label that is not there', { labels: { arch: 'arm' } }, ['label']],
    ['more time than is left', { timeRequestSeconds: 3601 }, ['wall-time']],
    ['several at once', { cpus: 9, gpus: 9 }, ['cpus', 'gpus']],
  ])('%s', (_what, over, expected) => {
    expect(obstacles({ ...SHAPE, ...over }, WORKER)).toEqual(expected);
    expect(fits({ ...SHAPE, ...over }, WORKER)).toBe(expected.length === 0);
  });

  test('a worker without an end has time for everything', () => {
    expect(fits({ ...SHAPE, timeRequestSeconds: 1e9 }, { ...WORKER, remainingSeconds: null })).toBe(true);
  });
});

describe('how many fit', () => {
  test.each<[string, Partial<Shape>, number]>([
    ['one cpu each', {}, 4],
    ['three cpus each', { cpus: 3 }, 1],
    ['the scarcest decides', { cpus: 1, memory: 4e9 }, 2],
    ['a named resource decides', { named: { licence: 2 } }, 1],
    ['what is not there fits never', { named: { scanner: 1 } }, 0],
    ['nothing asked, as many as wanted', { cpus: 0 }, 100],
  ])('%s', (_what, over, expected) => expect(countFitting({ ...SHAPE, ...over }, TOTAL, 100)).toBe(expected));

  test('never more than wanted, and none into a worker that is over-full', () => {
    expect(countFitting(SHAPE, TOTAL, 2)).toBe(2);
    expect(countFitting(SHAPE, { ...TOTAL, cpus: -3 }, 100)).toBe(0);
  });
});

const amounts = fc.record({
  cpus: fc.nat(64),
  memory: fc.nat(1e9),
  gpus: fc.nat(8),
  named: fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.nat(9)),
});
const shapes: fc.Arbitrary<Shape> = fc
  .tuple(
    amounts,
    fc.constantFrom('command' as const, 'payload' as const),
    fc.dictionary(fc.string(), fc.string()),
    fc.nat(1e6),
  )
  .map(([asked, kind, labels, timeRequestSeconds]) => ({ ...asked, kind, labels, timeRequestSeconds }));

describe('for all shapes and capacities', () => {
  test('what is counted as fitting can be taken, and one more cannot', () => {
    fc.assert(
      fc.property(shapes, amounts, fc.nat(50), (shape, capacity, most) => {
        const count = countFitting(shape, capacity, most);
        const left = subtract(capacity, shape, count);
        expect(Math.min(left.cpus, left.memory, left.gpus, ...Object.values(left.named))).toBeGreaterThanOrEqual(0);
        if (count < most) expect(countFitting(shape, left, 1)).toBe(0);
      }),
    );
  });

  test('the smaller of two capacities is the smaller in each resource, whichever comes first', () => {
    fc.assert(
      fc.property(amounts, amounts, (a, b) => {
        const both = smaller(a, b);
        expect(both).toEqual(smaller(b, a));
        expect(both.cpus).toBe(Math.min(a.cpus, b.cpus));
        for (const name of ['a', 'b', 'c'])
          expect(both.named[name] ?? 0).toBe(Math.min(a.named[name] ?? 0, b.named[name] ?? 0));
      }),
    );
  });

  test('a key is the same whatever the order of the names, and gives the shape back', () => {
    const reversed = <T>(record: Readonly<Record<string, T>>) => Object.fromEntries(Object.entries(record).reverse());
    fc.assert(
      fc.property(shapes, (shape) => {
        const key = shapeKey(shape);
        expect(shapeKey({ ...shape, named: reversed(shape.named), labels: reversed(shape.labels) })).toBe(key);
        expect(shapeKey(parseShapeKey(key))).toBe(key);
        expect(Object.entries(parseShapeKey(key).labels).sort()).toEqual(Object.entries(shape.labels).sort());
      }),
    );
  });

  test('different shapes have different keys', () => {
    fc.assert(
      fc.property(shapes, shapes, (a, b) => {
        if (shapeKey(a) === shapeKey(b)) expect(parseShapeKey(shapeKey(a))).toEqual(parseShapeKey(shapeKey(b)));
        expect(shapeKey({ ...a, cpus: a.cpus + 1 })).not.toBe(shapeKey(a));
      }),
    );
  });
});

describe('is a text that others made the key of a shape', () => {
  test('what is made here is', () => {
    const odd = { ...SHAPE, cpus: 0.5, named: { licence: 2, a: 1 }, labels: { '"': '\n', site: 'x' } };
    expect([isShapeKey(shapeKey(SHAPE)), isShapeKey(shapeKey(odd))]).toEqual([true, true]);
  });
  const rubbish = [
    '',
    '["command"',
    '["command"]',
    'null',
    '["command",1,0,0,0,null,null]',
    '["command",-1,0,0,0,[],[]]',
    '["command",null,0,0,0,[],[]]',
    '["command","1",0,0,0,[],[]]',
    '["command",1e999,0,0,0,[],[]]',
    '["command",1,0,0,0,[["a","b"]],[]]',
    '["command",1,0,0,0,[],[["a",1]]]',
    '["command",1,0,0,0,[],[],"more"]',
    '["command", 1,0,0,0,[],[]]',
  ];
  test.each(rubbish)('%j is none', (text) => expect(isShapeKey(text)).toBe(false));
});
