import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { downloadFile } from '../../../src/ground/client/download.ts';
import { routes } from '../../../src/ground/protocol/routes.ts';
import type { SchedulerKind, StagingKind, TransportKind } from '../../../src/ground/protocol/site.ts';
import { clientOf } from '../../support/api.ts';
import { type RunningServer, startServer } from '../../support/running-server.ts';
import { jobClient, startTestAgent, type TestAgent } from '../../support/site-agent.ts';
import { missingPlaces, openPlaces, type Place, type Places } from '../../support/site-places.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { waitUntil } from '../../support/wait-until.ts';

const COMBINATIONS = (['process', 'slurm', 'grid-engine'] as const).flatMap((scheduler) =>
  (['archive', 'shared'] as const).map((staging) => ['ssh', scheduler, staging] as const),
) satisfies (readonly [TransportKind, SchedulerKind, StagingKind])[];

let pool: RunningServer;
let places: Places;
const state = mkdtempSync('/tmp/pilotage-agent-');
beforeAll(async () => {
  pool = await startServer([], {});
  places = await openPlaces();
});
afterAll(async () => {
  await places?.close();
  await pool[Symbol.asyncDispose]();
  rmSync(state, { recursive: true, force: true });
});

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

describe.skipIf(missingPlaces() !== undefined).each(COMBINATIONS)(
  'a job by %s, %s and %s',
  (transport, scheduler, staging) => {
    let place: Place;
    let agent: TestAgent;
    let jobs: ReturnType<typeof jobClient>;
    beforeAll(async () => {
      const why = missingPlaces(scheduler);
      if (why !== undefined) throw new Error(why);
      place = await places.place(transport, scheduler, staging);
      agent = await startTestAgent({
        client: clientOf(pool),
        serverUrl: pool.url(),
        directory: path.join(state, place.config.name),
        configs: [place.config],
        watchTimes: { shortestMs: 100, longestMs: 1000 },
      });
      jobs = jobClient(clientOf(pool));
    });
    afterAll(async () => {
      if (process.env.SHOW) console.log(agent.log.lines.map((line) => JSON.stringify(line)).join('\n'));
      await agent?.stop();
    });
    const isShared = staging === 'shared';

    /** Files of a project where the job reads them: uploaded, or in the directory that both sides see. */
    const run = async (command: string[], files: Record<string, string>, outputs: string[] = []) => {
      const here = temporaryDirectory(isShared ? {} : files);
      if (isShared) {
        for (const [name, text] of Object.entries(files)) {
          mkdirSync(path.dirname(path.join(place.shared, name)), { recursive: true });
          writeFileSync(path.join(place.shared, name), text);
          chmodSync(path.dirname(path.join(place.shared, name)), 0o777);
        }
      }
      return jobs.run({
        site: place.config.name,
        command,
        projectDirectory: isShared ? place.shared : here,
        inputs: isShared ? [] : Object.keys(files).map((name) => ({ name, file: path.join(here, name) })),
        spec: { outputs: outputs.map((pattern) => ({ pattern })) },
      });
    };
    const read = async (task: string | null, name: string): Promise<string> => {
      if (isShared) return readFileSync(path.join(place.shared, name), 'utf8');
      const { tasks } = await clientOf(pool).call(routes.results, { params: { id: task as string } });
      const digest = tasks[0]?.outputs.find((output) => output.name === name)?.digest ?? '';
      const to = path.join(temporaryDirectory(), 'file');
      await downloadFile({ client: clientOf(pool), project: 'default' }, { digest }, to);
      return readFileSync(to, 'utf8');
    };
    const expectClean = () =>
      waitUntil('nothing of it is left there', () =>
        [place.jobs, path.join(place.shared, '.pilotage')].every(
          (one) => !existsSync(one) || !readdirSync(one).some((name) => /^pilotage-\d/.test(name)),
        ),
      );

    test('runs as an ordinary user with just its files, and brings back outputs, logs and its record', async () => {
      const script =
        'id -un; cat data/in.txt >data/out.txt; echo oops >&2; ls -A . >listing.txt; test ! -e /root/.bashrc';
      const job = await run(['sh', '-c', script], { 'data/in.txt': 'hello' }, ['data/out.txt', 'listing.txt']);
      const done = await jobs.ended(job.number, 90);
      if (done.message !== null) throw new Error(done.message);
      expect(done).toMatchObject({
        state: 'COMPLETED',
        exitCode: 0,
        machine: transport === 'ssh' ? 'site' : 'localhost',
      });
      expect(done.batchId).toMatch(/\w/);
      expect(await read(done.task, 'data/out.txt')).toBe('hello');
      const listing = (await read(done.task, 'listing.txt'))
        .split('\n')
        .filter((name) => !['', '.pilotage'].includes(name));
      expect(listing.sort()).toEqual(['data', 'listing.txt']);
      const logs = await logsOf(pool, done.task as string);
      expect(logs).toEqual({ stdout: `${place.user}\n`, stderr: 'oops\n' });
      expect(done.entries).toMatchObject(
        expect.arrayContaining([
          expect.objectContaining({ kind: 'process' }),
          expect.objectContaining({ kind: 'step', name: 'command', exitCode: 0 }),
          expect.objectContaining({ kind: 'file', role: 'output', path: 'data/out.txt', digest: expect.any(String) }),
        ]),
      );
      await expectClean();
    });

    test('that fails tells its exit code; one that leaves out an output says what is there', async () => {
      const failing = await run(['sh', '-c', 'echo before; exit 7'], {});
      const lacking = await run(['sh', '-c', 'echo x >other.txt'], {}, ['result.txt']);
      expect(await jobs.ended(failing.number, 90)).toMatchObject({ state: 'FAILED', reason: 'exit-code', exitCode: 7 });
      const missing = await jobs.ended(lacking.number, 90);
      expect(missing).toMatchObject({ state: 'FAILED', reason: 'missing-output' });
      expect(missing.message).toContain('other.txt');
    });

    test('whose words hold quotes, spaces, line breaks and $() runs them as they are', async () => {
      const odd = `a'b"c $(touch hacked) \`id\`\n\\ end`;
      const job = await run(['printf', '%s', odd], {});
      const done = await jobs.ended(job.number, 90);
      expect(done.state).toBe('COMPLETED');
      expect((await logsOf(pool, done.task as string)).stdout).toBe(odd);
    });

    test('tells its log and progress while it runs, and ends with all its processes when it is cancelled', async () => {
      const mark = 1_000_000 + Math.floor(Math.random() * 1_000_000);
      const deaf = "trap '' TERM;";
      const script = `echo '{"fraction":0.25,"message":"first"}' >>$PILOTAGE_PROGRESS_FILE; echo started; ${deaf} (${deaf} sleep ${mark}1) & sleep ${mark}2; sleep ${mark}3`;
      const job = await run(['sh', '-c', script], {});
      const running = await jobs.until(job.number, 'its progress', ({ progress }) => progress?.fraction === 0.25, 90);
      expect(running).toMatchObject({ state: 'RUNNING', phase: 'running', progress: { message: 'first' } });
      await clientOf(pool).call(routes.cancel, { body: { targets: [job.task as string] } });
      const told = await jobs.until(
        job.number,
        'what became of it',
        ({ entries }) => entries.some((entry) => entry.kind === 'note' && /was ended|over already/.test(entry.text)),
        90,
      );
      expect(told.state).toBe('CANCELLED');
      await expectClean();
      await waitUntil(
        'its processes are gone',
        () => !processes().some((line) => line.startsWith(`sleep ${mark}`)),
        60,
      );
    });

    test('goes on when the agent ends, and is taken up by the next one', async () => {
      const job = await run(['sh', '-c', 'while [ ! -e go ]; do sleep 0.1; done; echo done >out.txt'], {}, ['out.txt']);
      await jobs.until(job.number, 'to run', ({ phase }) => phase === 'running', 90);
      await agent.stop();
      agent = await startTestAgent({
        client: clientOf(pool),
        serverUrl: pool.url(),
        directory: path.join(state, place.config.name),
        configs: [place.config],
        watchTimes: { shortestMs: 100, longestMs: 1000 },
      });
      letGo(place, isShared);
      const done = await jobs.ended(job.number, 90);
      expect(done).toMatchObject({ state: 'COMPLETED', attempt: 1 });
      expect(done.entries.filter(({ kind }) => kind === 'process').length).toBe(1);
      expect(await read(done.task, 'out.txt')).toBe('done\n');
    });
  },
);

/** Tells the job that waits for it that it may end. */
function letGo(place: Place, isShared: boolean): void {
  const jobs = readdirSync(place.jobs).filter((one) => /^pilotage-\d/.test(one));
  const works = isShared ? [place.shared] : jobs.map((name) => path.join(place.jobs, name, 'project'));
  for (const work of works) writeFileSync(path.join(work, 'go'), '');
}

async function logsOf(server: RunningServer, task: string) {
  const { stdout, stderr } = await server.run(['logs', task]);
  return { stdout, stderr };
}

function processes(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replace(/\0$/, '').replaceAll('\0', ' ');
      } catch {
        return '';
      }
    });
}
