import type { PilotRequest } from '../../../ground/protocol/pilot.ts';
import type { Site } from '../../../ground/protocol/site.ts';
import { quote } from '../../transport/quote.ts';

/** A port of the machine that leads to the server. */
export interface Tunnel {
  readonly host: string;
  readonly port: number;
}

/** What was settled when a pilot was prepared: absolute names there, and how it reaches the server. */
export interface PilotThere {
  /** The worker file. */
  readonly program: string;
  readonly serverUrl: string;
  readonly fingerprint?: string;
  /** By which it gets there. */
  readonly tunnel?: Tunnel;
}

export const TOKEN_FILE = 'token';
export const NODE_FILE = 'node';

/** The words of the worker's command line. Its token is in a file, never here. */
export function pilotCommand(name: string, directory: string, pilot: PilotRequest, there: PilotThere): string[] {
  const flags: [string, string | number | undefined][] = [
    ['--server', there.serverUrl],
    ['--token-file', `${directory}/${TOKEN_FILE}`],
    ['--fingerprint', there.fingerprint],
    ['--name', name],
    ['--slots', pilot.slots],
    ['--memory', pilot.memory],
    ['--gpus', pilot.gpus],
    ['--zone', pilot.zone],
    ['--wall-time', `${Math.floor(pilot.workerSeconds)}s`],
    ['--until-idle', `${pilot.untilIdleSeconds}s`],
    ...pairs('--resource', pilot.named),
    ...pairs('--label', pilot.labels),
    ...(pilot.projects ?? []).map((project): [string, string] => ['--project', project]),
  ];
  return [
    there.program,
    'worker',
    ...flags.flatMap(([flag, value]) => (value === undefined ? [] : [`${flag}=${value}`])),
  ];
}

function pairs(flag: string, values: Readonly<Record<string, string | number>> = {}): [string, string][] {
  return Object.entries(values).map(([name, value]) => [flag, `${name}=${value}`]);
}

/** Writes down where it runs, as the batch system calls that: it is what can be left out another time. */
export function pilotSetup(directory: string): string {
  return `printf '%s\\n' "\${SLURMD_NODENAME:-$(uname -n)}" >${quote(`${directory}/${NODE_FILE}`)}`;
}

const NODE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** Options for the batch system: the pilots' own, and what keeps them off nodes where others came to nothing. */
export function pilotOptions(scheduler: Site['scheduler'], { queueOptions = [], exclude }: PilotRequest): string[] {
  const nodes = exclude.filter((node) => NODE_NAME.test(node));
  if (nodes.length === 0) return [...queueOptions];
  if (scheduler === 'slurm') return [...queueOptions, `--exclude=${nodes.join(',')}`];
  if (scheduler === 'grid-engine') return [...queueOptions, `-l h=!(${nodes.join('|')})`];
  return [...queueOptions];
}
