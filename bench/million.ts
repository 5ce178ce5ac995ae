import { routes } from '../src/ground/protocol/routes.ts';
import { cpuSeconds, residentMb, startServer } from './server.ts';

export interface MillionFigures {
  readonly acceptedSeconds: number;
  readonly peakMb: number;
  readonly firstClaimSeconds: number;
}

/** An array of a million tasks: how long until it is accepted, the server's memory meanwhile, and how soon after a kill -9 and restart the first one is claimed. */
export async function millionArray(args: readonly string[] = []): Promise<MillionFigures> {
  const server = await startServer({ args });
  let peakMb = 0;
  const sampler = setInterval(() => {
    peakMb = Math.max(peakMb, residentMb(server.pid));
  }, 50);
  const begun = performance.now();
  await server.client.call(routes.submit, {
    body: { steps: [{ spec: {}, array: { first: 1, last: 1_000_000 } }] },
    timeoutSeconds: 300,
  });
  const acceptedSeconds = (performance.now() - begun) / 1000;
  const restartBegun = performance.now();
  clearInterval(sampler);
  await server.restart();
  const worker = await register(server.client, ['payload']);
  const reply = await exchange(server.client, worker, 1, 1);
  if (reply.claims.length !== 1) throw new Error('nothing was claimed after the restart');
  const firstClaimSeconds = (performance.now() - restartBegun) / 1000;
  peakMb = Math.max(peakMb, residentMb(server.pid));
  await server.stop();
  return { acceptedSeconds, peakMb, firstClaimSeconds };
}

type Client = Awaited<ReturnType<typeof startServer>>['client'];

async function register(client: Client, kinds: ('command' | 'payload')[]) {
  const total = { cpus: 1000, memory: 2 ** 40, gpus: 0, named: {} };
  const body = {
    protocol: 1,
    version: 'bench',
    name: 'bench',
    host: 'bench',
    pid: 1,
    zone: null,
    total,
    labels: {},
    kinds,
    remainingSeconds: null,
  };
  return client.call(routes.register, { body });
}

async function exchange(
  client: Client,
  worker: { session: string; secret: string },
  number: number,
  most: number,
  reports: object[] = [],
) {
  const free = { cpus: 1000, memory: 2 ** 40, gpus: 0, named: {} };
  return client.call(routes.exchange, {
    params: { session: worker.session },
    headers: { 'x-pilotage-session': worker.secret },
    body: { number, held: [], reports: reports as never, free, maxClaims: most, waitSeconds: 0 },
  });
}

const SHAPES = 8;
const MEASURED = 20_000;

/** The server's processor time per task, in µs, claimed and reported in batches of 500, when so many of mixed shapes are queued. */
export async function cpuPerTask(queued: number, args: readonly string[] = []): Promise<number> {
  const server = await startServer({ args });
  const each = Math.floor(queued / SHAPES);
  for (let shape = 0; shape < SHAPES; shape += 1) {
    // Most shapes a cpu worker cannot take: they must cost it nothing.
    const resources = shape % 2 === 0 ? { cpus: 1, memory: shape * 2 ** 20 } : { cpus: 1, gpus: shape };
    const parts = [{ spec: { resources }, array: { first: 1, last: each } }];
    await server.client.call(routes.submit, { body: { steps: parts }, timeoutSeconds: 300 });
  }
  const worker = await register(server.client, ['payload']);
  let number = 0;
  let claims: { task: string; attempt: number; secret: string }[] = [];
  const reports = () => claims.map(({ task, attempt, secret }) => ({ task, attempt, secret, outcome: 'succeeded' }));
  const target = Math.min(MEASURED, Math.floor(queued / 2.5));
  let before = 0;
  let done = -1000;
  for (; done < target; done += 500) {
    if (done === 0) before = cpuSeconds(server.pid);
    number += 1;
    claims = (await exchange(server.client, worker, number, 500, reports())).claims;
  }
  const used = cpuSeconds(server.pid) - before;
  await server.stop();
  return (used * 1e6) / target;
}
