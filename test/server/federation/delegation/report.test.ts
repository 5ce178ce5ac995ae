import { expect, test } from 'vitest';
import type { Report } from '../../../../src/ground/protocol/exchange.ts';
import { filesOf, withoutFiles } from '../../../../src/server/federation/delegation/report.ts';

const DIGEST = 'a'.repeat(64);
const report = (over: object = {}): Report =>
  ({
    task: '1.1',
    attempt: 1,
    secret: 's',
    outcome: 'succeeded',
    exitCode: 0,
    outputs: [{ name: 'o', digest: DIGEST, size: 1, kind: 'file' }],
    stdout: { size: 2, data: 'aGk=' },
    stderr: { size: 200_000, digest: DIGEST },
    ...over,
  }) as Report;

test('a success whose files cannot be brought home is none: it says why, and names no file', () => {
  const told = withoutFiles(report(), 'over the quota');
  expect(told).toMatchObject({ outcome: 'failed', reason: 'output-failed', exitCode: 0, stdout: { data: 'aGk=' } });
  expect(told.message).toContain('over the quota');
  expect(filesOf(told)).toEqual([]);
});

test('a failure keeps its own reason', () => {
  const failed = report({ outcome: 'failed', reason: 'exit-code', exitCode: 3, message: 'it ended with 3' });
  const told = withoutFiles(failed, 'over the quota');
  expect(told).toMatchObject({ outcome: 'failed', reason: 'exit-code', exitCode: 3 });
  expect(told.message).toMatch(/^it ended with 3; .*over the quota$/);
  expect(filesOf(told)).toEqual([]);
});
