/** `npm run bench [-- --quick]`: every figure of docs/performance.md, with the machine's own floor from the same run. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { couchdb, pouchdb } from './couchdb.ts';
import { cpuPerTask, millionArray } from './million.ts';
import { borrowedThroughput, firstBorrowed, idleNetwork, slowLink } from './neighbours.ts';
import { nullTasks } from './null-tasks.ts';
import { pilots, TASKS } from './pilots.ts';
import { machine, median, residentMb, startServer } from './server.ts';
import { services } from './services.ts';
import { sites } from './sites.ts';
import { hashingMibPerSecond, hasRsync, type Staged, stage, stagingSource } from './staging.ts';
import { floorPerSecond, loneTaskMs, serverWithWorker, truePerSecond, xargsPerSecond } from './true-tasks.ts';
import { zone } from './zone.ts';

const quick = process.argv.includes('--quick');
const rounds = quick ? 1 : 5;
const lines: string[] = [];
let missed = 0;

function figure(name: string, value: string, target: string, reached: boolean): void {
  if (!reached) missed += 1;
  const line = `| ${name} | ${value} | ${target} | ${reached ? 'yes' : 'NO'} |`;
  lines.push(line);
  console.log(line);
}

const range = (values: readonly number[], digits = 0) =>
  `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)} to ${Math.max(...values).toFixed(digits)}, n = ${values.length})`;

console.log(`${new Date().toISOString().slice(0, 10)}, ${machine()}`);
console.log('SQLite, WAL, synchronous = FULL: an fsync before every acknowledgement; group commit. Loopback.');
console.log('| figure | measured | target | reached |\n| --- | --- | --- | --- |');
const PARTS = {
  idle: idleMemory,
  programs: realTasks,
  tasks: tasksWithoutProcess,
  million: aMillion,
  staging,
  zone: aZone,
  sites: jobsAtASite,
  pilots: pilotsOfASite,
  couchdb: tokensOfPicas,
  services: jobsOfServices,
  neighbours: workOfNeighbours,
};
for (const name of wantedParts()) await PARTS[name]();
console.log(`bench: ${lines.length - missed} reached, ${missed} missed`);
if (process.env.BENCH_OUTPUT) writeFileSync(process.env.BENCH_OUTPUT, `${lines.join('\n')}\n`);

/** All of them, or those that are named: `npm run bench -- sites pilots`. */
function wantedParts(): (keyof typeof PARTS)[] {
  const all = Object.keys(PARTS) as (keyof typeof PARTS)[];
  const named = process.argv.slice(2);
  const unknown = named.find((name) => !Object.hasOwn(PARTS, name));
  if (unknown !== undefined) throw new Error(`there is no part '${unknown}': the parts are ${all.join(', ')}`);
  return named.length === 0 ? all : all.filter((name) => named.includes(name));
}

async function workOfNeighbours(): Promise<void> {
  const { local, borrowed } = await borrowedThroughput(quick ? 1 : 5, quick ? 5000 : 60_000);
  const ratios = local.map((perSecond, i) => perSecond / (borrowed[i] ?? 1));
  figure('tasks without a process, at home, in batches: a second', range(local), '', true);
  figure('the same, borrowed by a neighbour: a second', range(borrowed), '', true);
  figure('how many times a local one a borrowed task costs', range(ratios, 2), 'at most 2', median(ratios) <= 2);
  const starts = await firstBorrowed(quick ? 3 : 10);
  const slowest = Math.max(...starts);
  figure(
    'a borrowed task: from its submission to its start at the neighbour',
    `${range(starts)} ms`,
    'within 1 s',
    slowest < 1000,
  );
  const idle = await idleNetwork(quick ? 10 : 60);
  figure(
    'an idle network of five servers: bytes a second on each link',
    range(idle),
    'under 1,000',
    Math.max(...idle) < 1000,
  );
  const { busy, seconds, tasks } = await slowLink(quick ? 320 : 10_000);
  figure(
    `${tasks} tasks of 1 s over a link with 50 ms on each way, 16 workers: busy`,
    `${(100 * busy).toFixed(1)} % (${seconds.toFixed(0)} s)`,
    'at least 90 %',
    busy >= 0.9,
  );
}

async function jobsOfServices(): Promise<void> {
  const { perSecond, queueMs, sweepMs } = await services();
  for (const [slots, rate] of perSecond)
    figure(
      `1,000 empty jobs of a service through all states, with moves, ${slots} slots: jobs a second`,
      rate.toFixed(0),
      'at least 50',
      rate >= 50,
    );
  figure(
    'a page of the queue with counts, over 100,000 past jobs',
    `${queueMs.toFixed(1)} ms`,
    'under 50 ms',
    queueMs < 50,
  );
  figure(
    'the sweep for jobs whose time is over, of 100,000',
    `${sweepMs.toFixed(1)} ms`,
    'under 100 ms',
    sweepMs < 100,
  );
}

async function idleMemory(): Promise<void> {
  const server = await startServer();
  const worker = server.start(
    'worker',
    '--server',
    server.url,
    '--token-file',
    join(server.data, 'admin-token'),
    '--slots',
    '2',
    '--cache',
    join(server.data, 'idle-worker'),
  );
  await pause(5000);
  const [serverMb, workerMb] = [residentMb(server.pid), residentMb(worker.pid as number)];
  await server.stop();
  figure('idle memory of the server', `${serverMb.toFixed(0)} MB`, 'under 130 MB', serverMb < 130);
  figure(
    'idle memory of a worker (its process, without spawners)',
    `${workerMb.toFixed(0)} MB`,
    'under 90 MB',
    workerMb < 90,
  );
}

async function realTasks(): Promise<void> {
  const count = quick ? 1000 : 5000;
  const server = await serverWithWorker(2);
  const xargs: number[] = [];
  const floors: number[] = [];
  const rates: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    xargs.push(await xargsPerSecond(count));
    floors.push(await floorPerSecond(count));
    rates.push(await truePerSecond(server, count));
  }
  const latencies: number[] = [];
  for (let i = 0; i < (quick ? 20 : 200); i += 1) latencies.push(await loneTaskMs(server));
  await server.stop();
  const ratios = rates.map((rate, i) => rate / (floors[i] as number));
  const floorShare = median(floors) / median(xargs);
  console.log(`| xargs -P2 -n1 /bin/true, processes a second | ${range(xargs)} | | |`);
  figure(
    'floor: two bare Node.js spawners, tasks a second',
    range(floors),
    `0.4 of xargs (${floorShare.toFixed(2)})`,
    floorShare >= 0.4,
  );
  figure(
    'real /bin/true tasks, one worker with 2 slots, tasks a second',
    range(rates),
    `0.6 of the floor (${median(ratios).toFixed(2)})`,
    median(ratios) >= 0.6,
  );
  const latency = median(latencies);
  figure(
    'a lone /bin/true task on an idle pool, submit to result, median',
    `${latency.toFixed(1)} ms`,
    'under 30 ms',
    latency < 30,
  );
}

async function tasksWithoutProcess(): Promise<void> {
  const results = [];
  for (let round = 0; round < Math.min(3, rounds); round += 1) results.push(await nullTasks(quick ? 30_000 : 100_000));
  const rate = median(results.map((result) => result.perSecond));
  figure(
    'tasks without a process, first submit to last result, tasks a second',
    range(results.map((result) => result.perSecond)),
    'at least 10000',
    rate >= 10_000,
  );
}

async function aMillion(): Promise<void> {
  const figures = await millionArray();
  figure(
    'an array of 1,000,000 accepted',
    `${figures.acceptedSeconds.toFixed(1)} s`,
    'in 10 s',
    figures.acceptedSeconds <= 10,
  );
  figure('server memory all the while, peak', `${figures.peakMb.toFixed(0)} MB`, 'under 300 MB', figures.peakMb < 300);
  figure(
    'kill -9 and restart with it queued: first claim',
    `${figures.firstClaimSeconds.toFixed(2)} s`,
    'within 2 s',
    figures.firstClaimSeconds < 2,
  );
  const small = await cpuPerTask(10_000);
  const large = await cpuPerTask(quick ? 100_000 : 1_000_000);
  figure(
    "the server's CPU time per task, 10,000 to 1,000,000 tasks of mixed shapes",
    `${small.toFixed(0)} to ${large.toFixed(0)} µs`,
    `grows by less than 1.3 (${(large / small).toFixed(2)})`,
    large / small < 1.3,
  );
}

async function aZone(): Promise<void> {
  const size = { mib: quick ? 64 : 1024, machines: 8, bitsPerSecond: quick ? 60e6 : 160e6 };
  const measured = await zone(size);
  if (!measured) return void console.log('| a zone | network namespaces are not to be had here | | |');
  const { oneSeconds, allSeconds, copies } = measured;
  const what = `${size.mib} MiB for ${size.machines} machines of a zone, links of ${size.bitsPerSecond / 1e6} Mbit/s`;
  figure(`${what}: bytes out of the server`, `${copies.toFixed(3)} copies`, 'at most 1.05', copies <= 1.05);
  figure(
    'the same: seconds until all have it',
    `${allSeconds.toFixed(1)} s, one copy ${oneSeconds.toFixed(1)} s`,
    `1.5 of one copy (${(allSeconds / oneSeconds).toFixed(2)})`,
    allSeconds <= 1.5 * oneSeconds,
  );
}

async function jobsAtASite(): Promise<void> {
  const many = 100;
  const measured = await sites({ rounds: quick ? 3 : 9, many });
  if (!measured) return void console.log('| jobs at a site | SSH servers are not to be had here | | |');
  const { bareMs, jobMs, commandMs, startMs, manySeconds, manySchedulerCommands, use } = measured;
  const times = (of: readonly number[]) => `${(median(of) / median(bareMs)).toFixed(2)}`;
  console.log(`| scp, ssh, scp of one small file, a connection each | ${range(bareMs)} ms | | |`);
  console.log(`| pilotage --version, the start of the program alone | ${range(startMs)} ms | | |`);
  figure(
    'the same as a job at an SSH site, agent warm, from the call to COMPLETED',
    `${range(jobMs)} ms`,
    `1.5 of scp, ssh, scp (${times(jobMs)})`,
    median(jobMs) <= 1.5 * median(bareMs),
  );
  figure(
    'all of pilotage job run',
    `${range(commandMs)} ms`,
    `1.5 of scp, ssh, scp (${times(commandMs)})`,
    median(commandMs) <= 1.5 * median(bareMs),
  );
  const sent = `${use.connections} SSH connection, ${manySchedulerCommands} scheduler commands`;
  figure(
    `${many} jobs at one SSH site at once`,
    `${manySeconds.toFixed(1)} s, ${sent}`,
    `1 connection, 2 commands a job`,
    use.connections === 1 && manySchedulerCommands <= 2 * many,
  );
}

async function pilotsOfASite(): Promise<void> {
  const measured = await pilots({ rounds: quick ? 3 : 9 });
  if (!measured) return void console.log('| pilots | Slurm is not to be had here | | |');
  const { bareMs, cold, warm } = measured;
  const first = warm.map(({ firstMs }) => firstMs);
  const more = median(first) - median(bareMs);
  console.log(`| sbatch of a trivial script, until it runs | ${range(bareMs)} ms | | |`);
  figure(
    `${TASKS} tasks wait for pilots by Slurm, worker file there: the first runs`,
    `${range(first)} ms`,
    `3 s more than sbatch (${(more / 1000).toFixed(1)} s)`,
    more <= 3000,
  );
  console.log(`| the same, until all have run | ${range(warm.map(({ allMs }) => allMs))} ms | | |`);
  const seconds = (ms: number) => (ms / 1000).toFixed(1);
  console.log(
    `| the same once, worker file made, sent and unpacked: the first runs, all have run | ${seconds(cold.firstMs)} s, ${seconds(cold.allMs)} s | | |`,
  );
}

async function staging(): Promise<void> {
  if (!hasRsync()) return void console.log('| staging | rsync is not here | | |');
  const source = stagingSource(quick ? 256 : 1024);
  const runs: Staged[] = [];
  for (let round = 0; round < Math.min(3, rounds); round += 1) runs.push(await stage(source.directory));
  const rates = [];
  for (let round = 0; round < Math.min(3, rounds); round += 1) rates.push(await hashingMibPerSecond(source.directory));
  source.remove();
  const seconds = (of: (run: (typeof runs)[number]) => number) => `${range(runs.map(of), 2)} s`;
  const ratio = median(runs.map((run) => run.seconds / run.rsyncSeconds));
  const more = median(runs.map((run) => run.againSeconds - run.rsyncAgainSeconds));
  const ours = median(rates.map((rate) => rate.ours));
  const theirs = median(rates.map((rate) => rate.sha256sum));
  const peaks = runs.map((run) => Math.max(run.clientPeakMb, run.serverPeakMb));
  console.log(
    `| rsync -a of 1,000 small files and one of ${quick ? 256 : 1024} MiB | ${seconds((run) => run.rsyncSeconds)} | | |`,
  );
  console.log(`| until these are on disk too (sync) | ${seconds((run) => run.syncSeconds)} more | | |`);
  console.log(`| the same again, nothing changed | ${seconds((run) => run.rsyncAgainSeconds)} | | |`);
  figure(
    'the same by submit, verified and on disk',
    seconds((run) => run.seconds),
    `1.3 of rsync (${ratio.toFixed(2)})`,
    ratio <= 1.3,
  );
  figure(
    'the same by submit again, nothing changed',
    seconds((run) => run.againSeconds),
    `0.5 s more than rsync (${more.toFixed(2)})`,
    more <= 0.5,
  );
  figure(
    'hashing one file, MiB a second',
    ours.toFixed(0),
    `0.9 of sha256sum (${(ours / theirs).toFixed(2)})`,
    ours >= 0.9 * theirs,
  );
  figure(
    'peak memory while staging: client, server',
    `${median(runs.map((run) => run.clientPeakMb)).toFixed(0)} MB, ${median(runs.map((run) => run.serverPeakMb)).toFixed(0)} MB`,
    'under 200 MB each',
    Math.max(...peaks) < 200,
  );
}

async function tokensOfPicas(): Promise<void> {
  const load = { tokens: quick ? 10_000 : 100_000, rounds: quick ? 11 : 51, clients: 16, claims: quick ? 500 : 3000 };
  const ours = await couchdb(load);
  const theirs = await pouchdb(load);
  const beside = (of: (figures: NonNullable<typeof theirs>) => string) =>
    theirs ? `; PouchDB's server, without an fsync: ${of(theirs)}` : '';
  const tokens = load.tokens.toLocaleString('en');
  console.log(
    `| ${tokens} PiCaS tokens pushed in bulks of 1,000, on disk | ${ours.pushSeconds.toFixed(1)} s${beside((it) => `${it.pushSeconds.toFixed(1)} s`)} | | |`,
  );
  console.log(
    `| the first view over them, indexed meanwhile | ${(ours.firstViewMs / 1000).toFixed(1)} s${beside((it) => `${(it.firstViewMs / 1000).toFixed(1)} s`)} | | |`,
  );
  for (const [name, of] of [
    ['again', 'viewMs'],
    ['just after a change', 'changedMs'],
  ] as const) {
    figure(
      `a view of ${tokens} tokens with limit=100, ${name}, median`,
      `${median(ours[of]).toFixed(1)} ms${beside((it) => `${median(it[of]).toFixed(1)} ms`)}`,
      'at most 20 ms',
      median(ours[of]) <= 20,
    );
  }
  console.log(
    `| claims a second by ${load.clients} clients, view, read and lock each | ${ours.claimsASecond.toFixed(0)}${beside((it) => it.claimsASecond.toFixed(0))} | | |`,
  );
}
