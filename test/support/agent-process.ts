/** An agent in a process of its own, started by `agent-as.ts`: what it is to do comes by its standard input. */
import { text } from 'node:stream/consumers';
import { createClient } from '../../src/ground/client/client.ts';
import { httpTransport } from '../../src/ground/client/http-transport.ts';
import type { SiteConfig } from '../../src/ground/protocol/site.ts';
import { makeWorkerFile } from '../../src/main/worker-file/make-worker-file.ts';
import { startTestAgent } from './site-agent.ts';

export interface AgentOrder {
  readonly serverUrl: string;
  readonly token: string;
  readonly directory: string;
  readonly workerFiles: string;
  readonly configs: readonly SiteConfig[];
}

const order = JSON.parse(await text(process.stdin)) as AgentOrder;
const { agent, log, stop } = await startTestAgent({
  ...order,
  client: createClient(httpTransport({ url: order.serverUrl }), () => order.token),
  workerFile: () => makeWorkerFile(order.workerFiles),
  watchTimes: { shortestMs: 500, longestMs: 2000 },
});
process.once('SIGTERM', () => void stop());
await agent.done;
for (const line of log.lines) console.error(JSON.stringify(line));
process.exit(0);
