import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { routes } from '../src/ground/protocol/routes.ts';
import { exited, startServer } from './server.ts';

const BATCH = 1000;

/** Tasks without a process: from the first submit to the last accepted result, tasks a second. Distinct payloads of 200 bytes and more. */
export async function nullTasks(
  count: number,
  args: readonly string[] = [],
): Promise<{ perSecond: number; submitPerSecond: number }> {
  const server = await startServer({ args });
  const worker = spawn(
    process.execPath,
    [
      '--max-semi-space-size=8',
      join(import.meta.dirname, 'null-worker.ts'),
      server.url,
      join(server.data, 'admin-token'),
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  await submitAndWait(server.client, 1, 'warm');
  const begun = performance.now();
  const ids: number[] = [];
  let submitted = 0;
  // Two requests are under way at once, as a client would do that has many to send.
  const send = async () => {
    while (submitted < count) {
      const first = submitted;
      submitted += BATCH;
      ids.push(await submit(server.client, Math.min(BATCH, count - first), `t${first}`));
    }
  };
  await Promise.all([send(), send()]);
  const submitSeconds = (performance.now() - begun) / 1000;
  for (const id of ids) await finished(server.client, id);
  const seconds = (performance.now() - begun) / 1000;
  worker.kill('SIGTERM');
  await exited(worker);
  await server.stop();
  return { perSecond: count / seconds, submitPerSecond: count / submitSeconds };
}

type Client = Awaited<ReturnType<typeof startServer>>['client'];

export async function submit(client: Client, count: number, label: string): Promise<number> {
  const items = Array.from({ length: count }, (_, i) => ({
    payload: { name: `${label}-${i}`, text: `${i}`.padEnd(220, 'x') },
  }));
  const reply = await client.call(routes.submit, { body: { steps: [{ spec: {}, items }] } });
  return reply.submissions[0]?.id as number;
}

export async function finished(client: Client, id: number): Promise<void> {
  for (;;) {
    const view = await client.call(routes.submission, {
      params: { id },
      query: { waitSeconds: 30, finishedOnly: true },
    });
    if (!view.finished) continue;
    if (view.counts.succeeded !== view.tasks) throw new Error(`submission ${id}: ${JSON.stringify(view.counts)}`);
    return;
  }
}

async function submitAndWait(client: Client, count: number, label: string): Promise<void> {
  await finished(client, await submit(client, count, label));
}
