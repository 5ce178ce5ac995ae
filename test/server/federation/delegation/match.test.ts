import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Bin } from '../../../../src/ground/protocol/exchange.ts';
import { type Capacity, type Shape, shapeKey } from '../../../../src/server/core/shape.ts';
import {
  ahead,
  canTake,
  isLent,
  isServed,
  limited,
  type Offered,
  offersFor,
  without,
} from '../../../../src/server/federation/delegation/match.ts';

const shape = (over: Partial<Shape> = {}): Shape => ({
  kind: 'command',
  cpus: 1,
  memory: 0,
  gpus: 0,
  named: {},
  labels: {},
  timeRequestSeconds: 0,
  ...over,
});
const capacity = (cpus: number, memory = 1000, gpus = 0): Capacity => ({ cpus, memory, gpus, named: {} });
const bin = (cpus: number, over: Partial<Bin> = {}): Bin => ({
  total: capacity(cpus),
  free: capacity(cpus),
  labels: {},
  remainingSeconds: null,
  ...over,
});
const at = (hours: number, minutes = 0): number => 60 * hours + minutes;
const HOME = 'a'.repeat(64);
const THIRD = 'b'.repeat(64);

describe('when workers lend their time', () => {
  const table: [string, string[], number, boolean][] = [
    ['within', ['08:00-17:00'], at(8), true],
    ['at its end no more', ['08:00-17:00'], at(17), false],
    ['over midnight, before', ['20:00-06:00'], at(23, 59), true],
    ['over midnight, after', ['20:00-06:00'], at(5, 59), true],
    ['over midnight, by day', ['20:00-06:00'], at(12), false],
    ['one of several', ['01:00-02:00', '12:00-13:00'], at(12, 30), true],
    ['from one time to the same is the whole day', ['00:00-00:00'], at(0), true],
    ['from one time to the same, at any other', ['09:30-09:30'], at(3), true],
  ];
  test.each(table)('%s', (_what, hours, now, expected) => expect(isLent({ hours }, now)).toBe(expected));
  test('always unless told, and a share of nothing never', () => {
    expect([isLent({}, 0), isLent({ share: 0 }, 0), isLent({ share: 0.01 }, 0)]).toEqual([true, false, true]);
  });
});

describe('what a neighbour is asked to fill', () => {
  const demand = (over: Partial<Shape> = {}, path = [HOME], project = 'p') => ({
    shape: shapeKey(shape(over)),
    project,
    path,
  });
  const own = (...bins: Bin[]): Offered[] => bins.map((one) => ({ peer: null, bin: one }));

  test('what fits something of its demand', () => {
    const some = own(bin(1), bin(4));
    expect(offersFor(HOME, some, { demand: [demand({ cpus: 2 })], terms: {} })).toEqual([some[1]]);
    expect(offersFor(HOME, some, { demand: [], terms: {} })).toEqual([]);
  });
  test('only workers with the labels that are lent, also those of others that it is passed on to', () => {
    const [with_, without_] = [bin(1, { labels: { lent: 'yes' } }), bin(1)];
    const offered: Offered[] = [with_, without_].flatMap((one) => [
      { peer: null, bin: one },
      { peer: THIRD, bin: one },
    ]);
    const found = offersFor(HOME, offered, { demand: [demand()], terms: { labels: { lent: 'yes' } } });
    expect(found.map(({ peer, bin: one }) => [peer, one.labels])).toEqual([
      [null, { lent: 'yes' }],
      [THIRD, { lent: 'yes' }],
    ]);
  });
  test('nobody is asked for itself, nor for what came through who wants it', () => {
    const offered: Offered[] = [
      { peer: HOME, bin: bin(1) },
      { peer: THIRD, bin: bin(1) },
    ];
    expect(offersFor(HOME, offered, { demand: [demand({}, [THIRD, HOME])], terms: {} })).toEqual([]);
    expect(offersFor(HOME, offered, { demand: [demand({}, [HOME])], terms: {} })).toEqual([offered[1]]);
  });
  test('projects that are lent to are those of the neighbour itself', () => {
    const terms = { projects: ['p'] };
    expect(offersFor(HOME, own(bin(1)), { demand: [demand()], terms }).length).toBe(1);
    expect(offersFor(HOME, own(bin(1)), { demand: [demand({}, [HOME], 'q')], terms })).toEqual([]);
    expect(offersFor(HOME, own(bin(1)), { demand: [demand({}, [THIRD, HOME])], terms })).toEqual([]);
    expect([isServed('p', false, terms), isServed('p', true, terms), isServed('q', true, {})]).toEqual([
      true,
      false,
      true,
    ]);
  });
});

const anyBin = fc
  .record({ total: fc.integer({ min: 1, max: 16 }), used: fc.integer({ min: 0, max: 16 }), peer: fc.boolean() })
  .map(
    ({ total, used, peer }): Offered => ({
      peer: peer ? THIRD : null,
      bin: bin(total, { free: capacity(Math.max(0, total - used)) }),
    }),
  );
const anyOffers = fc.array(anyBin, { maxLength: 8 });
const anyShapes = fc.array(
  fc.integer({ min: 1, max: 8 }).map((cpus) => shape({ cpus })),
  { maxLength: 10 },
);
const cpusOf = (offered: readonly Offered[]): number => offered.reduce((sum, { bin: { free } }) => sum + free.cpus, 0);
const ownOf = (offered: readonly Offered[]): Offered[] => offered.filter(({ peer }) => peer === null);

describe('what is left of what is offered', () => {
  test('what is on its way is taken off once, never below nothing, and no more than fits', () => {
    fc.assert(
      fc.property(anyOffers, anyShapes, (offered, shapes) => {
        const left = without(offered, shapes);
        expect(left.every(({ bin: { free } }) => free.cpus > 0)).toBe(true);
        const taken = cpusOf(offered) - cpusOf(left);
        expect(taken).toBeGreaterThanOrEqual(0);
        expect(taken).toBeLessThanOrEqual(shapes.reduce((sum, { cpus }) => sum + cpus, 0));
        // Nothing is left out that would have fitted into what is left.
        const placed = cpusOf(offered) - cpusOf(left);
        const smallest = Math.min(...shapes.map(({ cpus }) => cpus));
        if (placed === 0 && shapes.length > 0)
          expect(offered.some(({ bin: one }) => canTake(one, shape({ cpus: smallest })))).toBe(false);
      }),
    );
  });
  test('no more than so many cpus of our own, and all of what others offer', () => {
    fc.assert(
      fc.property(anyOffers, fc.integer({ min: 0, max: 40 }), (offered, cpus) => {
        const found = limited(offered, cpus);
        expect(cpusOf(ownOf(found))).toBe(Math.min(cpus, cpusOf(ownOf(offered))));
        expect(found.filter(({ peer }) => peer !== null)).toEqual(offered.filter(({ peer }) => peer !== null));
      }),
    );
  });
  test('what is fetched ahead goes into one of our own that may run it, and changes nothing else', () => {
    fc.assert(
      fc.property(anyOffers, fc.integer({ min: 0, max: 50 }), (offered, cpus) => {
        const demand = [{ shape: shapeKey(shape()), project: 'p', path: [HOME] }];
        const found = ahead(offered, cpus, demand);
        const more = ownOf(offered).length > 0 ? cpus : 0;
        expect(cpusOf(found)).toBe(cpusOf(offered) + more);
        expect(found.filter((one, i) => one.bin.free.cpus !== offered[i]?.bin.free.cpus).length).toBe(more > 0 ? 1 : 0);
      }),
    );
  });
});
