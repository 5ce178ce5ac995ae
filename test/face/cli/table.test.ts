import { expect, test } from 'vitest';
import { exitCodeOfTask } from '../../../src/face/cli/commands/run.ts';
import { colourStates, formatAge, formatTable } from '../../../src/face/cli/table.ts';

test('columns stand under their titles, and no line ends in blanks', () => {
  const rows = [
    { id: '1', name: 'short' },
    { id: '1234', name: '' },
  ];
  expect(
    formatTable(
      [
        { title: 'ID', of: (row) => row.id, align: 'right' },
        { title: 'NAME', of: (row) => row.name },
      ],
      rows,
    ),
  ).toBe('  ID  NAME\n   1  short\n1234\n');
});

test('what a name holds cannot command the terminal', () => {
  expect(formatTable([{ title: 'NAME', of: (row: string) => row }], ['a\u001b[2Jb\nc'])).toBe('NAME\na\ufffd[2Jb c\n');
});

test.each([
  ['2026-11-21T11:59:59.500Z', 'just now'],
  ['2026-11-21T11:55:00Z', '5m00s ago'],
  ['2026-11-21T14:10:00Z', 'in 2h10m'],
  [null, '-'],
])('the time %s is %s', (time, expected) => {
  expect(formatAge(time, new Date('2026-11-21T12:00:00Z'))).toBe(expected);
});

test('states are coloured for a person only', () => {
  expect(colourStates('1 failed', false)).toBe('1 failed');
  expect(colourStates('1 failed', true)).toBe('1 \u001b[31mfailed\u001b[39m');
});

test.each([
  [{ reason: 'exit-code', exitCode: 7, signal: null }, 7],
  [{ reason: 'signal', exitCode: null, signal: 'SIGKILL' }, 137],
  [{ reason: 'time-limit', exitCode: null, signal: 'SIGTERM' }, 143],
  [{ reason: 'missing-output', exitCode: 0, signal: null }, 1],
  [{ reason: 'command-not-found', exitCode: null, signal: null }, 127],
  [{ reason: 'command-not-executable', exitCode: null, signal: null }, 126],
  [{ reason: 'worker-lost', exitCode: null, signal: null }, 125],
])('run ends after %j with %i', (task, code) => {
  expect(exitCodeOfTask(task)).toBe(code);
});
