import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { uploadPaths } from '../src/ground/client/upload.ts';
import { routes } from '../src/ground/protocol/routes.ts';
import type { SiteConfig } from '../src/ground/protocol/site.ts';
import type { SiteUse } from '../src/worker/agent/site-executor.ts';
import { startTestAgent } from '../test/support/site-agent.ts';
import { clientConfig } from '../test/support/ssh-config.ts';
import { missingSshd, type SshServer, startSshServer } from '../test/support/ssh-server.ts';
import { type BenchServer, exited, median, startServer } from './server.ts';

const PILOTAGE = join(import.meta.dirname, '../bin/pilotage');
const SITE = 'bench';
const execute = promisify(execFile);

export interface Sites {
  /** `scp`, `ssh`, `scp`, one connection each. */
  readonly bareMs: readonly number[];
  /** A job with the same files, from the call that makes it until it is COMPLETED. */
  readonly jobMs: readonly number[];
  /** All of `pilotage job run`: the input is sent to the server, and the output is back. */
  readonly commandMs: readonly number[];
  /** `pilotage --version`: what starting the program takes of it. */
  readonly startMs: readonly number[];
  readonly manySeconds: number;
  /** Of the agent's one machine, all in all, and with the many alone. */
  readonly use: SiteUse;
  readonly manySchedulerCommands: number;
}

interface Bench {
  readonly ssh: SshServer;
  readonly server: BenchServer;
  readonly directory: string;
  readonly sshConfig: string;
}

/** A trivial job at a real SSH server, with one file in and one out, beside the bare commands; then many at once. Undefined: there can be none here. */
export async function sites({ rounds, many }: { rounds: number; many: number }): Promise<Sites | undefined> {
  if (missingSshd() !== undefined) return undefined;
  const directory = mkdtempSync(join(tmpdir(), 'pilotage-bench-sites-'));
  const ssh = await startSshServer();
  const server = await startServer();
  const sshConfig = clientConfig(ssh, join(directory, 'ssh'));
  const config: SiteConfig = { name: SITE, mechanism: 'ssh', machines: ['site'], sshConfig };
  const { client, url } = server;
  const options = { environment: process.env, pollSeconds: 20 };
  const agent = await startTestAgent({ ...options, client, serverUrl: url, configs: [config], directory });
  const bench: Bench = { ssh, server, directory, sshConfig };
  try {
    writeFileSync(join(directory, 'input'), 'one line\n');
    writeFileSync(join(directory, 'sites.yaml'), JSON.stringify({ sites: [config] }));

    const times = { bareMs: [] as number[], jobMs: [] as number[], commandMs: [] as number[], startMs: [] as number[] };
    await jobMs(bench);
    for (let round = 0; round < rounds; round += 1) {
      times.bareMs.push(await bareMs(bench, round));
      times.jobMs.push(await jobMs(bench));
      times.commandMs.push(await commandMs(bench));
      times.startMs.push(await startMs());
    }
    const before = agent.agent.stats()[0]?.schedulerCommands ?? 0;
    const manySeconds = await manyAtOnce(bench, many);
    const use = agent.agent.stats()[0] as SiteUse;
    return { ...times, manySeconds, use, manySchedulerCommands: use.schedulerCommands - before };
  } finally {
    await agent.stop();
    await server.stop();
    await ssh.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

const COPY = ['sh', '-c', 'cat input >output'] as const;

async function bareMs({ directory, sshConfig }: Bench, round: number): Promise<number> {
  const begun = performance.now();
  await execute('scp', ['-q', '-F', sshConfig, join(directory, 'input'), `site:/tmp/bare-${round}`]);
  await execute('ssh', ['-F', sshConfig, 'site', `cat /tmp/bare-${round} >/tmp/bare-${round}.out`]);
  await execute('scp', ['-q', '-F', sshConfig, `site:/tmp/bare-${round}.out`, join(directory, 'bare-output')]);
  return performance.now() - begun;
}

async function jobMs(bench: Bench): Promise<number> {
  const { client } = bench.server;
  const store = { client, project: 'default' };
  const [file] = await uploadPaths(store, [join(bench.directory, 'input')]);
  const begun = performance.now();
  const job = await createJob(bench, { ...(file as NonNullable<typeof file>), name: 'input' });
  await untilSucceeded(bench, [job]);
  return performance.now() - begun;
}

type Input = Awaited<ReturnType<typeof uploadPaths>>[number] & { readonly name: string };

async function createJob({ server }: Bench, input: Input): Promise<string> {
  const spec = { command: [...COPY], inputs: [input], outputs: [{ pattern: 'output' }], site: { name: SITE } };
  const job = await server.client.call(routes.createJob, { params: { project: 'default' }, body: { spec } });
  return job.number;
}

/** Waits as the command line does: its log ends when the job does. */
async function untilSucceeded({ server }: Bench, numbers: readonly string[]): Promise<void> {
  await Promise.all(
    numbers.map(async (number) => {
      for (;;) {
        const { state, message } = await server.client.call(routes.job, { params: { project: 'default', number } });
        if (state === 'COMPLETED') return;
        if (state === 'FAILED' || state === 'CANCELLED') throw new Error(`job ${number} ${state}: ${message}`);
        await new Promise((resolve) => setTimeout(resolve, numbers.length > 1 ? 200 : 5));
      }
    }),
  );
}

async function commandMs({ server, directory }: Bench): Promise<number> {
  const project = mkdtempSync(join(directory, 'project-'));
  writeFileSync(join(project, 'input'), 'one line\n');
  const flags = ['--site', SITE, '--data', server.data, '--input', 'input', '--output', 'output', '--'];
  const env = { ...process.env, PILOTAGE_SITES: join(directory, 'sites.yaml'), HOME: directory };
  const begun = performance.now();
  const command = spawn(PILOTAGE, ['job', 'run', ...flags, ...COPY], { cwd: project, env, stdio: 'ignore' });
  await exited(command);
  if (command.exitCode !== 0) throw new Error(`pilotage job run ended with ${command.exitCode}`);
  return performance.now() - begun;
}

async function startMs(): Promise<number> {
  const begun = performance.now();
  await execute(PILOTAGE, ['--version']);
  return performance.now() - begun;
}

async function manyAtOnce(bench: Bench, many: number): Promise<number> {
  const { client } = bench.server;
  const [file] = await uploadPaths({ client, project: 'default' }, [join(bench.directory, 'input')]);
  const begun = performance.now();
  const input = { ...(file as NonNullable<typeof file>), name: 'input' };
  const numbers = await Promise.all(Array.from({ length: many }, () => createJob(bench, input)));
  await untilSucceeded(bench, numbers);
  return (performance.now() - begun) / 1000;
}

/** For a look at this part alone: `node bench/sites.ts`. */
if (import.meta.main) {
  const measured = await sites({ rounds: 7, many: 100 });
  if (!measured) throw new Error(missingSshd());
  const { bareMs: bare, jobMs: job, commandMs: command, startMs: start, ...rest } = measured;
  console.log({ bare, job, command, start });
  console.log(
    `bare ${median(bare).toFixed(0)}, job ${median(job).toFixed(0)}, command ${median(command).toFixed(0)}, start ${median(start).toFixed(0)}`,
    rest,
  );
}
