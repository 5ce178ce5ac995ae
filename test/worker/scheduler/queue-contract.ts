import { expect, test } from 'vitest';
import { type Bench, endOf, start, statusOf, untilState } from './bench.ts';

/** What schedulers with a queue promise besides. */
export function keepsTheQueueContract(bench: () => Bench, options: { afterId: (id: string) => string }): void {
  test('a job that can never start is hopeless, with the reason', async () => {
    const job = await start(bench(), 'exit 0', { cpus: 64 });
    await expect
      .poll(() => statusOf(bench(), job), { timeout: 30_000 })
      .toMatchObject({ state: 'pending', hopeless: true, reason: expect.stringMatching(/./) });
  });

  test('a job that waits for its turn is pending, not hopeless, and is cancelled without ever running', async () => {
    const first = await start(bench(), 'sleep 300');
    const second = await start(bench(), 'touch ran', { options: [options.afterId(first.id)] });
    expect(await untilState(bench(), second, 'pending')).toMatchObject({ hopeless: false });
    expect((await bench().scheduler.cancel(bench().shell, [second])).get(second.id)).toBe('cancelled');
    expect(await endOf(bench(), second)).toMatchObject({ cause: 'cancelled' });
  });

  test('jobs that end in any order are each told as themselves', async () => {
    const slow = await start(bench(), 'sleep 300');
    const quick = await start(bench(), 'exit 5');
    expect(await endOf(bench(), quick)).toMatchObject({ exitCode: 5 });
    expect((await statusOf(bench(), slow)).state).toBe('running');
  });
}
