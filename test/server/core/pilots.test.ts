import { describe, expect, test } from 'vitest';
import {
  coolDownMs,
  fitToBacklog,
  nodesAfterSuccess,
  restingNodes,
  usefulSecondsOf,
  withNodeFailure,
  workerSecondsOf,
} from '../../../src/server/core/pilots.ts';
import type { Shape } from '../../../src/server/core/shape.ts';

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
const total = { cpus: 4, memory: 2 ** 33, gpus: 0, named: {} };
const facts = { kinds: ['command'], total, labels: {}, remainingSeconds: 3600 };
const kind = (most: number) => ({ site: 's', facts, projects: null, most });
const backlog = (queued: number, over: Partial<Shape> = {}) => ({ projectId: 1, shape: shape(over), queued });

describe('fitting pilots to a backlog', () => {
  test.each([
    [0, 0],
    [1, 1],
    [4, 1],
    [5, 2],
    [1_000_000, 20],
  ])('%i tasks of one cpu want %i pilots of four, at most 20', (queued, wanted) => {
    expect(fitToBacklog([backlog(queued)], [], [kind(20)]).more.get('s') ?? 0).toBe(wanted);
  });

  test('tasks of three cpus fill a pilot of four each, and small ones go beside them', () => {
    expect(fitToBacklog([backlog(2), backlog(2, { cpus: 3 })], [], [kind(20)]).more.get('s')).toBe(2);
  });

  test('who is there is filled first, in order, and who gets nothing is not used', () => {
    const present = ['a', 'b', 'c'].map((id) => ({ id, facts, free: total, projects: null }));
    const { more, used } = fitToBacklog([backlog(6)], present, [kind(20)]);
    expect(more.size).toBe(0);
    expect([...used]).toEqual(['a', 'b']);
  });
});

test.each([
  [0, 0],
  [1, 0],
  [2, 1],
  [3, 2],
  [4, 4],
  [5, 8],
  [7, 30],
  [50, 30],
])('after %i pilots that came to nothing a site rests for %i minutes', (failures, minutes) => {
  expect(coolDownMs(failures)).toBe(minutes * 60_000);
});

test.each([60, 600, 7200, 86_400])('of a wall time of %i s a worker leaves some, and a task gets less', (wall) => {
  expect(workerSecondsOf(wall)).toBeLessThan(wall);
  expect(usefulSecondsOf(wall)).toBeLessThan(workerSecondsOf(wall));
  expect(usefulSecondsOf(wall)).toBeGreaterThan(wall * 0.5);
});

describe('a node on which pilots came to nothing', () => {
  const twice = withNodeFailure(withNodeFailure({}, 'bad', 1000), 'bad', 2000);

  test('is left out after the second, for an hour', () => {
    expect(restingNodes(withNodeFailure({}, 'bad', 1000), 1000)).toEqual([]);
    expect(restingNodes(twice, 2000)).toEqual(['bad']);
    expect(restingNodes(twice, 2000 + 3_600_000)).toEqual([]);
  });

  test('stays left out when others work, but not when several had failed: then it was something else', () => {
    expect(nodesAfterSuccess(twice)).toEqual(twice);
    expect(nodesAfterSuccess(withNodeFailure(twice, 'another', 3000))).toEqual({});
  });

  test('comes back when a pilot is refused: there may be no nodes left', () => {
    expect(withNodeFailure(twice, undefined, 3000)).toEqual({});
  });
});
