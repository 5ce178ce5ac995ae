import { describe, expect, test } from 'vitest';
import { findFaketime } from '../chaos/faketime.ts';
import { type ChaosOptions, runChaos } from '../chaos/run-chaos.ts';
import { FAKETIME, POSTGRES, skipIfMissing } from '../support/debian.ts';
import { startPostgres } from '../support/postgres.ts';

/** A short run of what `npm run chaos` does for as long as one likes. The seed is printed, so that a run can be repeated. */
describe('kill -9, lost replies and repeated requests at random moments', () => {
  const options = (): ChaosOptions => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    process.stdout.write(`chaos with the seed ${seed}\n`);
    return { seed, tasks: 800, seconds: 25, servers: 1, workers: 3, say: (line) => process.stdout.write(`${line}\n`) };
  };
  const expectOrder = (result: Awaited<ReturnType<typeof runChaos>>) => {
    expect(result.wrong).toEqual([]);
    expect(result.tasks).toBeGreaterThanOrEqual(800);
    expect(result.server.kills).toBeGreaterThan(2);
    expect(result.worker.kills).toBeGreaterThan(2);
    expect(result.faults['lose-reply']).toBeGreaterThan(0);
    expect(result.faults.repeat).toBeGreaterThan(0);
  };

  test('lose nothing and do nothing twice on SQLite', async () => {
    expectOrder(await runChaos(options()));
  });

  test('lose nothing and do nothing twice on PostgreSQL with two servers', async ({ skip }) => {
    skipIfMissing(skip, POSTGRES);
    const postgres = await startPostgres();
    expectOrder(await runChaos({ ...options(), servers: 2, database: await postgres.newDatabase() }));
    await postgres.stop();
  });

  test('nor when the clock jumps', async ({ skip }) => {
    skipIfMissing(skip, FAKETIME);
    const result = await runChaos({ ...options(), jumpingClock: findFaketime() });
    expectOrder(result);
    expect(result.clockJumps).toBeGreaterThan(2);
  });
});
