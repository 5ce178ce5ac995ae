import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { OutputStream } from '../../../../src/face/cli/context.ts';
import type { Invocation } from '../../../../src/face/cli/invocation.ts';
import { byteProgress } from '../../../../src/face/cli/submission/progress.ts';

let written: string;
beforeEach(() => {
  written = '';
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A person at a terminal, or a file that takes what is said. */
function invocation(isTTY: boolean): Invocation {
  const stderr = Object.assign(new PassThrough(), { isTTY, columns: 200 }) as unknown as OutputStream & PassThrough;
  stderr.on('data', (piece: Buffer) => {
    written += piece.toString();
  });
  const say = async (line: string) => {
    written += `${line}\n`;
  };
  return { context: { stderr }, say } as unknown as Invocation;
}

test('a quick transfer shows nothing', () => {
  const bar = byteProgress(invocation(true), 'uploading');
  vi.advanceTimersByTime(900);
  bar.update(5, 10);
  bar.stop();
  expect(written).toBe('');
});

test('a longer one shows a person how many bytes of how many, which may become more', async () => {
  const bar = byteProgress(invocation(true), 'uploading');
  vi.advanceTimersByTime(1100);
  bar.update(2 ** 20, 2 ** 30);
  await vi.waitUntil(() => {
    vi.advanceTimersByTime(300);
    bar.update(2 ** 29, 2 ** 31, '3 of 4 files');
    return written.includes('GiB');
  });
  bar.stop();
  expect(written).toMatch(/uploading .*25% \| 512 MiB\/2 GiB \| .* \| 3 of 4 files/);
});

test('where nobody watches, a line tells it now and then', async () => {
  const bar = byteProgress(invocation(false), 'fetching');
  vi.advanceTimersByTime(1100);
  bar.update(1, 2 ** 30);
  await vi.waitUntil(() => {
    vi.advanceTimersByTime(4000);
    bar.update(2 ** 29, 2 ** 30, '3 of 4 files');
    return written !== '';
  });
  bar.stop();
  expect(written).toMatch(/^fetching 512 MiB of 1 GiB \| .* \| 3 of 4 files\n/);
});
