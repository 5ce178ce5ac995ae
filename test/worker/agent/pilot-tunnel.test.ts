import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Client } from '../../../src/ground/client/client.ts';
import { routes } from '../../../src/ground/protocol/routes.ts';
import { makeWorkerFile } from '../../../src/main/worker-file/make-worker-file.ts';
import { clientOf } from '../../support/api.ts';
import { missingNetwork, type Netlab, openNetlab } from '../../support/network-hosts.ts';
import { type RunningServer, startServer } from '../../support/running-server.ts';
import { startTestAgent, type TestAgent } from '../../support/site-agent.ts';
import { clientConfig } from '../../support/ssh-config.ts';
import { missingSshd, type SshServer, startSshServer } from '../../support/ssh-server.ts';
import { waitUntil } from '../../support/wait-until.ts';

vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

describe.skipIf((missingSshd() ?? missingNetwork()) !== undefined)('pilots where the server cannot be reached', () => {
  const state = mkdtempSync('/tmp/pilotage-tunnel-');
  let netlab: Netlab;
  let sshd: SshServer;
  let pool: RunningServer;
  let client: Client;
  let agent: TestAgent;
  beforeAll(async () => {
    netlab = openNetlab(1);
    const [host] = netlab.hosts;
    if (!host) throw new Error('no host');
    sshd = await startSshServer({ host });
    // On the loopback address of this side: the other has one of its own.
    pool = await startServer();
    client = clientOf(pool);
    agent = await startAgain();
  });
  afterAll(async () => {
    await agent?.stop();
    await sshd?.stop();
    netlab?.close();
    await pool?.[Symbol.asyncDispose]();
    rmSync(state, { recursive: true, force: true });
  });

  const startAgain = (): Promise<TestAgent> =>
    startTestAgent({
      client,
      serverUrl: pool.url(),
      directory: path.join(state, 'agent'),
      configs: [
        {
          name: 'island',
          transport: 'ssh',
          scheduler: 'process',
          staging: 'archive',
          machines: ['site'],
          temporaryDirectory: '/tmp',
          sshConfig: clientConfig(sshd, path.join(state, 'client')),
          timeout: 5,
        },
      ],
      workerFile: () => makeWorkerFile(path.join(state, 'worker-files')),
      watchTimes: { shortestMs: 500, longestMs: 1000 },
    });
  const runTasks = async (count: number): Promise<void> => {
    const { submissions } = await client.call(routes.submit, {
      body: {
        project: 'default',
        requestId: randomUUID(),
        steps: [{ spec: { command: ['true'] }, array: { first: 1, last: count } }],
      },
    });
    const id = submissions[0]?.id as number;
    await waitUntil(
      'the tasks to succeed',
      async () => (await client.call(routes.submission, { params: { id } })).counts.succeeded === count,
      90,
    );
  };
  const workers = async (): Promise<string[]> => {
    const all = await client.call(routes.workers, { query: { all: true } });
    return all.filter(({ name }) => !name.startsWith('agent')).map(({ id }) => id);
  };

  test('reach it by a tunnel, also after the connection broke off, and after the agent was started anew', async () => {
    const plan = { max: 1, slots: 2, wallTimeSeconds: 3600, untilIdleSeconds: 600, tunnel: true };
    await client.call(routes.setPilots, { params: { site: 'island' }, body: plan });
    await runTasks(4);
    const first = await workers();
    expect(first).toHaveLength(1);
    await sshd.kill();
    await sshd.restart();
    await runTasks(4);
    await agent.stop();
    agent = await startAgain();
    await runTasks(4);
    // The one that came first ran them all.
    expect(await workers()).toEqual(first);
  });
});
