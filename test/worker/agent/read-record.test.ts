import { expect, test } from 'vitest';
import { readRecordLines, uidOf } from '../../../src/worker/agent/read-record.ts';

const lines = [
  { kind: 'process', id: 'process', host: 'node1', pid: 7, startedAt: '2026-11-21T10:00:00Z' },
  { kind: 'step', name: 'refine', exitCode: 0, unknown: 'is left out' },
  { kind: 'file', path: 'out.mtz', size: 10 },
  { kind: 'job', id: 'sub', name: 'part', state: 'COMPLETED', command: ['x'] },
  { kind: 'note', text: 'hello' },
].map((line) => JSON.stringify(line));

test('what a program wrote down becomes entries and sub-jobs', () => {
  const { entries, jobs } = readRecordLines(`${lines.join('\n')}\n`, 'n');
  expect(entries).toEqual([
    { kind: 'process', id: 'n:process', host: 'node1', pid: 7, startedAt: '2026-11-21T10:00:00Z' },
    { kind: 'step', id: 'n-line-2', name: 'refine', exitCode: 0 },
    { kind: 'file', id: 'n-line-3', path: 'out.mtz', role: 'output', size: 10 },
    { kind: 'note', id: 'n-line-5', at: '2026-11-21T10:00:00Z', text: 'hello' },
  ]);
  expect(jobs).toEqual([{ id: 'n:sub', name: 'part', state: 'COMPLETED', command: ['x'] }]);
});

test('the same record gives the same entries, so that merging it twice changes nothing', () => {
  expect(readRecordLines(lines.join('\n'), 'n')).toEqual(readRecordLines(lines.join('\n'), 'n'));
  expect(uidOf('job', 'n:sub')).toBe(uidOf('job', 'n:sub'));
  expect(uidOf('job', 'n:sub')).not.toBe(uidOf('other', 'n:sub'));
});

test('of a record without end the first part counts, and that is said', () => {
  const { entries } = readRecordLines('{"kind":"note","text":"x"}\n'.repeat(100_001), 'n');
  expect(entries).toHaveLength(100_001);
  expect(entries.at(-1)).toMatchObject({ kind: 'note', text: expect.stringContaining('the first 100000 count') });
});

test.each(['half a line {', '[]', '"x"', '{"kind":"step"}', '{"kind":"job","state":"DONE"}', '{"kind":"what"}'])(
  'a line that cannot be used (%s) is said so, and the rest stands',
  (bad) => {
    const { entries } = readRecordLines(`${bad}\n${lines[1]}`, 'n');
    expect(entries).toMatchObject([
      { kind: 'note', text: expect.stringContaining('line 1 of the record cannot be read') },
      { kind: 'step', name: 'refine' },
    ]);
  },
);
