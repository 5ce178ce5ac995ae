import { execFile, execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { routes } from '../src/ground/protocol/routes.ts';
import { startAgentAs } from '../test/support/agent-as.ts';
import { missingPlaces, openPlaces, type Place } from '../test/support/site-places.ts';
import { leaveSlurm } from '../test/support/slurm.ts';
import { type BenchServer, median, startServer } from './server.ts';

const execute = promisify(execFile);
export const TASKS = 20;
const PILOTS = { max: 2, slots: 2, wallTimeSeconds: 600, untilIdleSeconds: 1 };
const PATIENCE_MS = 120_000;

/** From 20 tasks submitted. */
interface Came {
  /** Until the first of them runs, in a pilot that came for them. */
  readonly firstMs: number;
  readonly allMs: number;
}

export interface Pilots {
  /** A trivial script by `sbatch`, until it runs. */
  readonly bareMs: readonly number[];
  /** The worker file is made, sent and unpacked on the way. */
  readonly cold: Came;
  readonly warm: readonly Came[];
}

interface Bench {
  readonly server: BenchServer;
  readonly place: Place;
}

/** Tasks that wait for pilots by a real Slurm, beside a bare `sbatch`. Undefined: there can be none here. */
export async function pilots({ rounds }: { rounds: number }): Promise<Pilots | undefined> {
  if (missingPlaces('slurm') !== undefined) return undefined;
  const directory = mkdtempSync('/var/tmp/pilotage-bench-pilots-');
  chmodSync(directory, 0o777);
  const places = await openPlaces();
  const place = await places.place('local', 'slurm', 'archive');
  const server = await startServer();
  const agent = startAgentAs(place.user, {
    serverUrl: server.url,
    token: readFileSync(join(server.data, 'admin-token'), 'utf8').trim(),
    directory: join(directory, 'agent'),
    workerFiles: join(directory, 'worker-files'),
    configs: [place.config],
  });
  const bench = { server, place };
  try {
    await server.client.call(routes.setPilots, { params: { site: place.config.name }, body: PILOTS });
    await until('an agent', async () => (await server.client.call(routes.workers)).length > 0);
    await bareMs(bench, 0);
    const cold = await tasksMs(bench);
    const bare: number[] = [];
    const warm: Came[] = [];
    for (let round = 1; round <= rounds; round += 1) {
      // At another moment of the server's and of Slurm's rounds each time.
      await pause((round * 730) % 2000);
      bare.push(await bareMs(bench, round));
      warm.push(await tasksMs(bench));
    }
    return { bareMs: bare, cold, warm };
  } finally {
    const said = await agent.stop();
    if (process.env.BENCH_DEBUG) console.error(said);
    await server.stop();
    await places.close();
    await leaveSlurm();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function bareMs({ place }: Bench, round: number): Promise<number> {
  const mark = join(place.shared, `ran-${round}`);
  const script = join(place.shared, `bare-${round}.sh`);
  writeFileSync(script, `#!/bin/sh\n: >'${mark}'\n`);
  const begun = performance.now();
  await execute('setpriv', [...as(place.user), 'sbatch', '--output=/dev/null', script], { cwd: '/' });
  await until('the script to run', () => existsSync(mark));
  const ms = performance.now() - begun;
  await untilNoJobs(place);
  return ms;
}

async function tasksMs({ server: { client }, place }: Bench): Promise<Came> {
  const begun = performance.now();
  const { submissions } = await client.call(routes.submit, {
    body: { project: 'default', steps: [{ spec: { command: ['true'] }, array: { first: 1, last: TASKS } }] },
  });
  const id = submissions[0]?.id as number;
  const counts = async () => (await client.call(routes.submission, { params: { id } })).counts;
  let firstMs = 0;
  await until('a task to run', async () => {
    const { running, succeeded, failed } = await counts();
    firstMs = performance.now() - begun;
    return running + succeeded + failed > 0;
  });
  await until('all tasks to end', async () => (await counts()).succeeded === TASKS);
  const allMs = performance.now() - begun;
  await until('the pilots to leave', async () => (await client.call(routes.pilots))[0]?.pilots.length === 0);
  await untilNoJobs(place);
  return { firstMs, allMs };
}

async function untilNoJobs(place: Place): Promise<void> {
  await until('Slurm to be idle', () => execFileSync('squeue', ['-h', '-u', place.user], { encoding: 'utf8' }) === '');
}

async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`waited ${PATIENCE_MS / 1000} s for ${what}`);
    await pause(10);
  }
}

function as(user: string): string[] {
  return [`--reuid=${user}`, `--regid=${user}`, '--init-groups'];
}

/** For a look at this part alone: `node bench/pilots.ts`. */
if (import.meta.main) {
  const measured = await pilots({ rounds: 7 });
  if (!measured) throw new Error(missingPlaces('slurm'));
  console.log(measured);
  const { bareMs: bare, warm } = measured;
  const [first, all] = [warm.map(({ firstMs }) => firstMs), warm.map(({ allMs }) => allMs)];
  console.log(`bare ${median(bare).toFixed(0)}, first ${median(first).toFixed(0)}, all ${median(all).toFixed(0)}`);
}
