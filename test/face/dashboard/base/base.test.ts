import { describe, expect, test } from 'vitest';
import { jobAddress, placeOf, queueAddress, submitAddress } from '../../../../src/face/dashboard/base/address.ts';
import { addressOf, NoAnswer, Refused, toError } from '../../../../src/face/dashboard/base/api.ts';
import { formatCount, formatPercent, formatTime, formatValue } from '../../../../src/face/dashboard/base/format.ts';
import { isUnderWay, lifeOf, STATES } from '../../../../src/face/dashboard/base/life.ts';
import { nextLookSeconds, nextTrySeconds } from '../../../../src/face/dashboard/base/pace.ts';
import { rootOf } from '../../../../src/face/dashboard/base/root.ts';
import { tokenIn } from '../../../../src/face/dashboard/base/session.ts';
import { JOB_STATES } from '../../../../src/ground/protocol/job-state.ts';

describe('addresses', () => {
  test.each([
    ['/', { page: 'start' }],
    ['/services/default/words', { page: 'submit', project: 'default', service: 'words' }],
    ['/services/a%2Fb/words/', { page: 'submit', project: 'a/b', service: 'words' }],
    ['/services/default/words/queue', { page: 'queue', project: 'default', service: 'words' }],
    ['/jobs/default/12/se-cret', { page: 'job', project: 'default', number: '12', secret: 'se-cret' }],
    ['/jobs/default/12', { page: 'nowhere' }],
    ['/services/default/words/other', { page: 'nowhere' }],
    ['/services/%', { page: 'nowhere' }],
  ])('%s', (path, place) => expect(placeOf(path)).toEqual(place));

  test('are read as they were written', () => {
    const of = { project: 'a/b c', service: 'words' };
    expect(placeOf(submitAddress(of.project, of.service))).toEqual({ page: 'submit', ...of });
    expect(placeOf(queueAddress(of.project, of.service))).toEqual({ page: 'queue', ...of });
    const link = { project: 'a/b', number: '1.2', secret: 'x_-' };
    expect(placeOf(jobAddress(link))).toEqual({ page: 'job', ...link });
  });

  test('of calls hold their parameters and what is asked for', () =>
    expect(
      addressOf('serviceQueue', {
        params: { project: 'a/b', service: 'words' },
        query: { limit: 100, state: 'RUNNING,FAILED' },
      }),
    ).toBe('/api/v1/projects/a%2Fb/services/words/queue?limit=100&state=RUNNING%2CFAILED'));
});

test.each([
  ['#pilotage_abcdefghijklmnop', 'pilotage_abcdefghijklmnop'],
  ['#main', undefined],
  ['', undefined],
  ['#pilotage_abcdefghijklmnop<', undefined],
])('the token in %o is %o', (hash, token) => expect(tokenIn(hash)).toBe(token));

describe('where the pages begin', () => {
  test.each([
    ['https://host/assets/main-ABC.js', ''],
    ['https://host/a/b/assets/main-ABC.js', '/a/b'],
    ['file:///somewhere/root.ts', ''],
  ])('for a script at %s: %o', (script, root) => expect(rootOf(script)).toBe(root));
  test('addresses are read from there on', () =>
    expect(placeOf('/a/services/default/words', '/a')).toMatchObject({ page: 'submit', service: 'words' }));
});

describe('an error of the server', () => {
  test('is told in its words', () => {
    const error = toError(503, '{"detail": "later", "retryAfterSeconds": 7}');
    expect(error).toBeInstanceOf(Refused);
    expect(error).toMatchObject({ status: 503, message: 'later', retryAfterSeconds: 7 });
  });
  test.each(['<html>', '{}', '{"detail": 1}', ''])('%o is none of its', (text) =>
    expect(toError(502, text)).toBeInstanceOf(NoAnswer),
  );
});

describe('looking again', () => {
  test.each([
    [60, 0, 1],
    [60, 30, 3],
    [60, 300, 10],
    [60, 3600, 60],
    [2, 3600, 2],
    [0, 0, 1],
    [null, 0, null],
  ])('a server that says %o, after %o s of watching: in %o s', (said, watched, seconds) =>
    expect(nextLookSeconds(said, watched)).toBe(seconds),
  );
  test('after no answer, ever later', () =>
    expect([1, 2, 3, 4, 5, 6, 50].map(nextTrySeconds)).toEqual([1, 2, 4, 8, 16, 30, 30]));
});

describe('the life of a job', () => {
  const line = (...given: Parameters<typeof lifeOf>) => lifeOf(...given).map(({ word, when }) => `${word} ${when}`);
  test('what was, is and will be', () =>
    expect(line('RUNNING', true)).toEqual([
      'waiting was',
      'preparing was',
      'running is',
      'evaluating will be',
      'finishing will be',
      'complete will be',
    ]));
  test('an end that is no end of the line', () => {
    expect(line('FAILED', true)).toEqual(['waiting was', 'started was', 'failed is']);
    expect(line('CANCELLED', false)).toEqual(['waiting was', 'cancelled is']);
    expect(line('ARCHIVED', true).slice(-2)).toEqual(['complete was', 'archived is']);
    expect(line('EXPIRED', true).slice(-3)).toEqual(['complete was', 'archived was', 'expired is']);
  });
  test('all states have a place', () => {
    expect(STATES).toEqual(JOB_STATES);
    for (const state of JOB_STATES) expect(lifeOf(state, true).filter(({ when }) => when === 'is')).toHaveLength(1);
    expect(JOB_STATES.filter(isUnderWay)).toEqual(JOB_STATES.slice(0, 5));
  });
});

describe('for people', () => {
  test('times', () => expect(formatTime('2026-11-27T13:05:00Z', 'en-GB', 'UTC')).toBe('27 Nov 2026, 13:05'));
  test.each([
    [0, '0 %'],
    [0.999, '99 %'],
    [1, '100 %'],
    [7, '100 %'],
  ])('%o is %s', (fraction, text) => expect(formatPercent(fraction)).toBe(text));
  test('counts', () => expect([formatCount(1, 'job'), formatCount(2, 'job')]).toEqual(['1 job', '2 jobs']));
  test.each([
    ['<b>', '<b>'],
    [['a', 1], 'a\n1'],
    [{ a: 1 }, '{\n  "a": 1\n}'],
    [null, 'null'],
  ])('the value %o', (value, text) => expect(formatValue(value)).toBe(text));
});
