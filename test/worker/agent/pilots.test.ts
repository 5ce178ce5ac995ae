import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { PilotSettingsRequest, PilotsView } from '../../../src/ground/protocol/pilot.ts';
import { routes } from '../../../src/ground/protocol/routes.ts';
import type { SchedulerKind } from '../../../src/ground/protocol/site.ts';
import { startAgentAs } from '../../support/agent-as.ts';
import { adminToken, clientOf } from '../../support/api.ts';
import { startServer } from '../../support/running-server.ts';
import { missingPlaces, openPlaces, type Place, type Places } from '../../support/site-places.ts';
import { waitUntil } from '../../support/wait-until.ts';

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const EACH: PilotSettingsRequest = { max: 20, slots: 2, wallTimeSeconds: 600, untilIdleSeconds: 3 };
const state = mkdtempSync('/tmp/pilotage-pilots-');
let places: Places;
beforeAll(async () => {
  chmodSync(state, 0o777);
  places = await openPlaces();
});
afterAll(async () => {
  await places?.close();
  rmSync(state, { recursive: true, force: true });
});

/** A server, an agent that runs as the user, and a site of that kind. */
async function startPool(place: Place) {
  const pool = await startServer();
  const client = clientOf(pool);
  const site = place.config.name;
  const agent = startAgentAs(place.user, {
    serverUrl: pool.url(),
    token: adminToken(pool),
    directory: path.join(state, `${site}-${Date.now()}`),
    workerFiles: path.join(state, 'worker-files'),
    configs: [place.config],
  });
  const view = async (): Promise<PilotsView> =>
    (await client.call(routes.pilots)).find((one) => one.site === site) as PilotsView;
  return {
    pool,
    client,
    view,
    set: (over: Partial<PilotSettingsRequest> = {}) =>
      client.call(routes.setPilots, { params: { site }, body: { ...EACH, ...over } }),
    submit: async (count: number, command: string[]): Promise<number> => {
      const step = { spec: { command }, array: { first: 1, last: count } };
      const { submissions } = await client.call(routes.submit, {
        body: { project: 'default', requestId: randomUUID(), steps: [step] },
      });
      return submissions[0]?.id as number;
    },
    finished: (id: number) =>
      waitUntil(
        `submission ${id} to end`,
        async () => {
          const { counts } = await client.call(routes.submission, { params: { id } });
          return counts.waiting + counts.queued + counts.running === 0 ? counts : undefined;
        },
        120,
      ),
    why: async (id: number): Promise<string> => {
      const { reasons } = await client.call(routes.why, { params: { id: `${id}.1` } });
      return reasons.map(({ code, text }) => `${code}: ${text}`).join('\n');
    },
    stop: async () => {
      const said = await agent.stop();
      if (process.env.SHOW) console.log(said);
      await pool[Symbol.asyncDispose]();
    },
  };
}

const KINDS: SchedulerKind[] = ['slurm', 'grid-engine', 'process'];

describe.skipIf(missingPlaces() !== undefined).each(KINDS)('pilots by %s', (scheduler) => {
  let place: Place;
  let pool: Awaited<ReturnType<typeof startPool>>;
  beforeAll(async () => {
    const why = missingPlaces(scheduler);
    if (why !== undefined) throw new Error(why);
    place = await places.place('local', scheduler, 'archive');
    pool = await startPool(place);
  });
  afterAll(() => pool?.stop());

  test('come when tasks wait, run them, leave when there are no more, and leave just the worker file', async () => {
    await pool.set();
    const id = await pool.submit(20, ['sh', '-c', 'id -un; sleep 0.2']);
    expect(await pool.finished(id)).toMatchObject({ succeeded: 20 });
    const output = await pool.pool.run(['logs', `${id}.1`]);
    expect(output.stdout).toBe(`${place.user}\n`);
    await waitUntil('the pilots to leave', async () => (await pool.view()).pilots.length === 0, 90);
    const { endedToday, excludedNodes, reasons } = await pool.view();
    expect(endedToday).toMatchObject({ failed: 0 });
    expect(endedToday.worked).toBeGreaterThan(0);
    expect({ excludedNodes, reasons }).toEqual({ excludedNodes: [], reasons: [] });
    await waitUntil('their directories to go', () => leftOf(place).every((name) => /^pilotage-worker-/.test(name)), 30);
    expect(leftOf(place)).toHaveLength(1);
  });

  test('put their credential into no command line, no log and no environment', async () => {
    const id = await pool.submit(1, ['sh', '-c', 'ps -ww -eo args; env; sleep 1']);
    await pool.finished(id);
    const { stdout } = await pool.pool.run(['logs', `${id}.1`]);
    expect(stdout).toContain('--token-file=');
    const secret = /task:\d+\.1:1:[A-Za-z0-9_-]{20,}/;
    expect(stdout.split('\n').filter((line) => secret.test(line) && !line.includes('PILOTAGE_TOKEN'))).toEqual([]);
  });
});

describe.skipIf(missingPlaces('slurm') !== undefined)('pilots that Slurm does not start', () => {
  let pool: Awaited<ReturnType<typeof startPool>>;
  beforeAll(async () => {
    pool = await startPool(await places.place('local', 'slurm', 'archive'));
  });
  afterEach(async () => {
    await pool.client.call(routes.cancel, { body: { all: true } });
  });
  afterAll(() => pool?.stop());

  test('because it refuses them: its words are in pilots and why, and after two the site rests', async () => {
    await pool.set({ queueOptions: ['-p nowhere'] });
    const id = await pool.submit(20, ['true']);
    const view = await waitUntil(
      'the site to rest',
      async () => {
        const now = await pool.view();
        return now.state === 'cooling-down' ? now : undefined;
      },
      60,
    );
    expect(view.failuresInARow).toBeLessThanOrEqual(3);
    expect(view.reasons.join('\n')).toMatch(/invalid partition/i);
    const why = await pool.why(id);
    expect(why).toMatch(/pilots-cooling-down: .*invalid partition/is);
    expect((await pool.pool.run(['pilots'])).stdout).toMatch(/cooling-down[\s\S]*invalid partition/i);
  });

  test('because they would wait for ever: that is said, and others do not follow them', async () => {
    await pool.set({ queueOptions: ['-p short'], wallTimeSeconds: 3600, max: 3 });
    const id = await pool.submit(20, ['true']);
    const view = await waitUntil(
      'it to be said',
      async () => {
        const now = await pool.view();
        return now.reasons.some((reason) => /PartitionTimeLimit|will not start/.test(reason)) ? now : undefined;
      },
      90,
    );
    expect(view.working).toBe(0);
    expect(await pool.why(id)).toMatch(/PartitionTimeLimit|will not start/);
  });

  test('because they never reach the server: they leave, and that is the reason', async () => {
    await pool.set({ serverUrl: 'http://127.0.0.1:1', untilIdleSeconds: 1 });
    await pool.submit(20, ['true']);
    const view = await waitUntil(
      'two failures',
      async () => {
        const now = await pool.view();
        return now.failuresInARow > 1 ? now : undefined;
      },
      90,
    );
    // As Slurm calls it: so it can be left out.
    expect(view.excludedNodes).toEqual(['node1']);
    expect(view.reasons.join('\n')).toMatch(/never reached the server.*127\.0\.0\.1:1/s);
  });
});

function leftOf(place: Place): string[] {
  return readdirSync(place.jobs).filter((name) => name !== `pilotage-worker-${idOf(place.user)}`);
}

function idOf(user: string): string {
  return execFileSync('id', ['-u', user], { encoding: 'utf8' }).trim();
}
