import os from 'node:os';
import path from 'node:path';
import type { Command } from 'commander';
import { PilotageError } from '../../../ground/base/errors.ts';
import type { ServiceView } from '../../../ground/protocol/service.ts';
import { calls } from '../calls.ts';
import type { BackgroundState, ServiceHostOptions } from '../context.ts';
import type { Define } from '../define.ts';
import { defined } from '../defined.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { duration } from '../option-values.ts';
import { publishLink } from '../services/service-link.ts';
import { serviceUnit } from '../services/service-unit.ts';
import { type Column, formatAge, formatTable } from '../table.ts';

interface InProject {
  readonly project?: string;
}

const PROJECT = 'the project (PILOTAGE_PROJECT; else default)';
const DIRECTORIES = 'directories of services, each with its service.yaml';
/** As the init scripts of the Linux Standard Base have it: the program is not running. */
const NOT_RUNNING = 3;
const ASK_SECONDS = 5;

export function serviceCommand(define: Define): Command {
  const of = (name: string, summary: string, act: typeof start): Command =>
    define(name, summary, act).argument('<dirs...>', DIRECTORIES);
  return define('service', 'Host services: kinds of jobs with a life, defined by their hooks', undefined)
    .addCommand(
      define('new', 'Write a service that works, to begin with', create).argument(
        '<name>',
        'its name, and its directory',
      ),
    )
    .addCommand(of('check', 'Check the types of services, and load them', check))
    .addCommand(of('run', 'Host services in this process until it is told to end', run))
    .addCommand(of('start', 'Host services in the background', start))
    .addCommand(of('stop', 'End hosts in the background', stop))
    .addCommand(of('restart', 'End hosts in the background and start them again', restart))
    .addCommand(of('status', 'Say which hosts run, and why one ended; ends with 3 unless all run', status))
    .addCommand(of('unit', 'Print a systemd unit that hosts the services', unit))
    .addCommand(
      define('nudge', 'Let the host of a service look at all its jobs at once', nudge)
        .argument('<name>', 'the service')
        .option('-p, --project <name>', PROJECT),
    )
    .addCommand(
      define('link', "Make a link to publish: who has it may add jobs to the project's services", publishLink)
        .argument('<name>', 'the service')
        .option('-p, --project <name>', PROJECT)
        .option('--expires <duration>', 'good for so long, as in 90d; until revoked unless given', duration),
    )
    .addCommand(define('list', 'List services', list).option('-p, --project <name>', PROJECT));
}

async function create(invocation: Invocation, _options: object, name: string): Promise<number> {
  const files = await invocation.context.service.create(
    path.resolve(invocation.context.cwd, name),
    path.basename(name),
  );
  await invocation.print(
    { files },
    () =>
      `${files.map((file) => `${file}\n`).join('')}'pilotage service check ${name}' says whether it is right, 'pilotage service start ${name}' hosts it`,
  );
  return EXIT.done;
}

async function check(invocation: Invocation, _options: object, dirs: string[]): Promise<number> {
  for (const home of homesOf(invocation, dirs)) {
    const checked = await invocation.context.service.check(home);
    await invocation.print(checked, () => {
      const types = checked.isTypeChecked ? '' : ' (its types were not checked: no TypeScript compiler is installed)';
      return `service '${checked.name}' is fit: hooks ${checked.hooks.join(', ')}${types}`;
    });
  }
  return EXIT.done;
}

async function run(invocation: Invocation, _options: object, dirs: string[]): Promise<number> {
  return invocation.context.service.run(hostOptions(invocation, homesOf(invocation, dirs)));
}

async function start(invocation: Invocation, _options: object, dirs: string[]): Promise<number> {
  let code: number = EXIT.done;
  for (const home of homesOf(invocation, dirs)) {
    const before = await invocation.context.service.status(home);
    const state =
      before?.state === 'running' ? before : await invocation.context.service.start(hostOptions(invocation, [home]));
    if (state.state !== 'running') code = EXIT.failed;
    await tell(invocation, home, state);
  }
  return code;
}

async function stop(invocation: Invocation, _options: object, dirs: string[]): Promise<number> {
  for (const home of homesOf(invocation, dirs)) {
    if (!(await invocation.context.service.stop(home)))
      throw new PilotageError(
        'timed-out',
        `the host of '${home}' does not end: its log says what it is at, 'kill -9' ends it without harm`,
      );
    await tell(invocation, home, await invocation.context.service.status(home));
  }
  return EXIT.done;
}

async function restart(invocation: Invocation, options: object, dirs: string[]): Promise<number> {
  // First: what cannot be started again is not stopped.
  hostOptions(invocation, homesOf(invocation, dirs));
  await stop(invocation, options, dirs);
  return start(invocation, options, dirs);
}

async function status(invocation: Invocation, _options: object, dirs: string[]): Promise<number> {
  const states: { home: string; state: BackgroundState | undefined }[] = [];
  for (const home of homesOf(invocation, dirs))
    states.push({ home, state: await invocation.context.service.status(home) });
  for (const { home, state } of states) await tell(invocation, home, state, await noticesOf(invocation, state));
  return states.every(({ state }) => state?.state === 'running') ? EXIT.done : NOT_RUNNING;
}

type Notices = ServiceView['notices'];

async function tell(
  invocation: Invocation,
  home: string,
  state: BackgroundState | undefined,
  notices?: Notices,
): Promise<void> {
  const shown = { directory: home, state: state?.state ?? 'stopped', ...defined({ reason: reasonOf(state), notices }) };
  await invocation.print(shown, () => {
    const told = notices && noticesText(notices);
    const more = told === undefined ? '' : `\n  ${told}`;
    if (state?.state === 'running') return `${home} is running (process ${state.process.pid})${more}`;
    const why = reasonOf(state);
    return `${home} is stopped${why === undefined ? '' : `: ${why}`}`;
  });
}

/** What its server has not delivered yet; a server that cannot be asked says nothing of the host. */
async function noticesOf(invocation: Invocation, state: BackgroundState | undefined): Promise<Notices | undefined> {
  if (state?.state !== 'running') return undefined;
  try {
    const params = { project: state.project, service: state.service };
    const { notices } = await invocation.client().call(calls.service, { params, timeoutSeconds: ASK_SECONDS });
    return notices;
  } catch {
    return undefined;
  }
}

function noticesText({ waiting, failed, lastError }: Notices): string | undefined {
  if (waiting + failed === 0) return undefined;
  const counts = [...(waiting > 0 ? [`${waiting} waiting`] : []), ...(failed > 0 ? [`${failed} given up`] : [])];
  return `mails and web hooks: ${counts.join(', ')}${lastError === null ? '' : ` (${lastError})`}`;
}

function reasonOf(state: BackgroundState | undefined): string | undefined {
  return state === undefined || state.state === 'running' ? undefined : (state.reason ?? undefined);
}

async function unit(invocation: Invocation, _options: object, dirs: string[]): Promise<number> {
  const { url, tokenFile, fingerprint } = invocation.address();
  const text = serviceUnit({
    homes: homesOf(invocation, dirs),
    server: url,
    tokenFile: path.resolve(invocation.context.cwd, tokenFile),
    user: os.userInfo().username,
    program: invocation.context.env.PILOTAGE_PROGRAM ?? 'pilotage',
    ...defined({ fingerprint }),
  });
  await invocation.print({ unit: text }, () => text);
  return EXIT.done;
}

async function nudge(invocation: Invocation, options: InProject, service: string): Promise<number> {
  const params = { ...projectOf(invocation, options), service };
  await invocation.client().call(calls.nudgeService, { params });
  const { host } = await invocation.client().call(calls.service, { params });
  await invocation.print({ service, hosted: host !== null }, () =>
    host === null
      ? `nobody hosts the service '${service}' now: 'pilotage service start DIR'`
      : `${service} looks at its jobs`,
  );
  return EXIT.done;
}

async function list(invocation: Invocation, options: InProject): Promise<number> {
  const services = await invocation.client().call(calls.services, { params: projectOf(invocation, options) });
  const now = invocation.context.now();
  const columns: Column<ServiceView>[] = [
    { title: 'SERVICE', of: ({ name }) => name },
    { title: 'TITLE', of: ({ title }) => title ?? '' },
    { title: 'HOST', of: ({ host }) => (host === null ? 'nobody' : `${host.host} (process ${host.pid})`) },
    { title: 'SINCE', of: ({ host, endedAt }) => formatAge(host?.since ?? endedAt, now) },
    {
      title: 'JOBS',
      of: ({ counts }) =>
        Object.entries(counts)
          .map(([state, n]) => `${n} ${state}`)
          .join(', '),
    },
    { title: 'NOTICES', of: ({ notices }) => noticesText(notices) ?? '' },
    { title: '', of: ({ endReason }) => endReason ?? '' },
  ];
  await invocation.printList(services, () =>
    services.length === 0 ? "no services: 'pilotage service new NAME' writes one" : formatTable(columns, services),
  );
  return EXIT.done;
}

function homesOf({ context }: Invocation, dirs: readonly string[]): string[] {
  return dirs.map((dir) => path.resolve(context.cwd, dir));
}

function hostOptions(invocation: Invocation, homes: readonly string[]): ServiceHostOptions {
  const { url, tokenFile, fingerprint } = invocation.address();
  return {
    homes,
    version: invocation.context.version,
    server: url,
    tokenFile: path.resolve(invocation.context.cwd, tokenFile),
    verbosity: 1 + (invocation.options.verbose ?? 0),
    ...defined({ fingerprint }),
  };
}

function projectOf({ context }: Invocation, { project }: InProject): { project: string } {
  return { project: project ?? (context.env.PILOTAGE_PROJECT || 'default') };
}
