import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { parseDuration } from '../../ground/base/duration.ts';
import { messageOf, PilotageError, systemCode } from '../../ground/base/errors.ts';
import { parseSize } from '../../ground/base/size.ts';
import type { Directories } from './directories.ts';
import { type NoticesConfig, readNotices } from './read-notices.ts';

/** A service's file, with all that it leaves out. Paths are absolute, times in seconds (null: for ever), sizes in bytes. */
export interface ServiceConfig extends NoticesConfig {
  readonly home: string;
  readonly module: string;
  readonly project: string;
  readonly directories: Directories;
  readonly running: number;
  readonly concurrency: number;
  readonly hookSeconds: number;
  readonly hookMemory: number;
  /** New jobs are refused while so many are unfinished, of all or of one user. */
  readonly limits: { readonly waiting?: number; readonly perUser?: number };
  /** No job is begun while its disk has less room, in bytes. */
  readonly freeDisk: number;
  readonly archiveSeconds: number | null;
  readonly expireSeconds: number | null;
  /** Keys of the service's own. */
  readonly config: Readonly<Record<string, unknown>>;
}

export const CONFIG_FILE = 'service.yaml';

/** A state has the directory of the state before it, unless the file names another. */
const BEFORE: readonly (readonly [keyof Directories, keyof Directories | undefined, string])[] = [
  ['INCOMING', undefined, 'incoming'],
  ['PREPROCESSING', undefined, 'jobs'],
  ['RUNNING', 'PREPROCESSING', ''],
  ['POSTPROCESSING', 'RUNNING', ''],
  ['FINALIZING', 'POSTPROCESSING', ''],
  ['COMPLETED', 'FINALIZING', ''],
  ['ARCHIVED', 'COMPLETED', ''],
  ['FAILED', 'COMPLETED', ''],
  ['CANCELLED', 'FAILED', ''],
];

const KEYS = ['module', 'project', 'directories', 'limits', 'concurrency', 'retention', 'mail', 'webhooks', 'config'];

export function readServiceConfig(home: string): ServiceConfig {
  const file = path.join(home, CONFIG_FILE);
  const whole = mapOf(file, readYaml(file), 'the file');
  known(file, whole, KEYS, 'key');
  const limits = mapOf(file, whole.limits, "'limits'");
  known(file, limits, ['running', 'hookTime', 'hookMemory', 'waiting', 'perUser', 'freeDisk'], 'limit');
  const retention = mapOf(file, whole.retention, "'retention'");
  known(file, retention, ['archive', 'expire'], 'key of retention');
  const archiveSeconds = timeOf(file, retention.archive);
  const expireSeconds = timeOf(file, retention.expire);
  if (expireSeconds !== null && (archiveSeconds === null || archiveSeconds > expireSeconds))
    throw wrong(
      file,
      'results expire before they are archived: both times count from the end of the job, so let archive be the shorter one',
    );
  return {
    home,
    module: path.resolve(home, textOf(file, whole.module, 'service.ts', "'module'")),
    project: textOf(file, whole.project, 'default', "'project'"),
    directories: directoriesOf(file, home, whole.directories),
    running: countOf(file, limits.running, 5, "'limits.running'"),
    concurrency: countOf(file, whole.concurrency, 1, "'concurrency'"),
    hookSeconds: limits.hookTime === undefined ? 300 : readWith(file, () => parseDuration(limits.hookTime as string)),
    hookMemory:
      limits.hookMemory === undefined ? 2 ** 30 : readWith(file, () => parseSize(limits.hookMemory as string)),
    limits: {
      ...(limits.waiting === undefined ? {} : { waiting: countOf(file, limits.waiting, 1, "'limits.waiting'") }),
      ...(limits.perUser === undefined ? {} : { perUser: countOf(file, limits.perUser, 1, "'limits.perUser'") }),
    },
    freeDisk: limits.freeDisk === undefined ? 0 : readWith(file, () => parseSize(limits.freeDisk as string)),
    archiveSeconds,
    expireSeconds,
    ...readNotices(whole, (what) => wrong(file, what)),
    config: mapOf(file, whole.config, "'config'"),
  };
}

function readYaml(file: string): unknown {
  try {
    return parse(readFileSync(file, 'utf8')) ?? {};
  } catch (error) {
    if (systemCode(error) === 'ENOENT')
      throw new PilotageError(
        'not-found',
        `'${path.dirname(file)}' holds no service: there is no ${CONFIG_FILE} in it. 'pilotage service new NAME' makes one`,
      );
    throw wrong(file, messageOf(error).split('\n')[0]?.replace(/:$/, '') ?? '');
  }
}

function directoriesOf(file: string, home: string, given: unknown): Directories {
  const named = mapOf(file, given, "'directories'");
  known(
    file,
    named,
    BEFORE.map(([state]) => state.toLowerCase()),
    'state with a directory',
  );
  const found: Partial<Record<keyof Directories, string>> = {};
  for (const [state, before, usual] of BEFORE) {
    const own = named[state.toLowerCase()];
    const fallback = usual === '' ? found[before as keyof Directories] : path.join(home, usual);
    found[state] =
      own === undefined ? (fallback as string) : path.resolve(home, textOf(file, own, '', `the directory of ${state}`));
  }
  if (found.INCOMING === found.PREPROCESSING)
    throw wrong(file, "'incoming' needs a directory of its own: what is put there is taken from there");
  return found as Directories;
}

function timeOf(file: string, given: unknown): number | null {
  if (given === undefined || given === 'never' || given === 'NEVER') return null;
  return readWith(file, () => parseDuration(given as string | number));
}

function readWith<T>(file: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw wrong(file, messageOf(error));
  }
}

function mapOf(file: string, given: unknown, what: string): Record<string, unknown> {
  if (given === undefined || given === null) return {};
  if (typeof given === 'object' && !Array.isArray(given)) return given as Record<string, unknown>;
  throw wrong(file, `${what} has to be keys with values`);
}

function textOf(file: string, given: unknown, usual: string, what: string): string {
  if (given === undefined) return usual;
  if (typeof given === 'string' && given !== '') return given;
  throw wrong(file, `${what} has to be a text`);
}

function countOf(file: string, given: unknown, usual: number, what: string): number {
  if (given === undefined) return usual;
  if (Number.isInteger(given) && (given as number) >= 1) return given as number;
  throw wrong(file, `${what} has to be a whole number from 1 on`);
}

function known(file: string, given: Record<string, unknown>, keys: readonly string[], what: string): void {
  const strange = Object.keys(given).find((key) => !keys.includes(key));
  if (strange !== undefined) throw wrong(file, `there is no ${what} '${strange}': there are ${keys.join(', ')}`);
}

function wrong(file: string, what: string): PilotageError {
  return new PilotageError('bad-request', `${file}: ${what}`);
}
