import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { messageOf, PilotageError, systemCode } from '../../ground/base/errors.ts';
import type { ServerChoice } from './connect.ts';
import type { CliContext } from './context.ts';
import type { Entry, Located } from './job-file/located.ts';
import { hintOf } from './nearest.ts';
import { isGiven, setOption } from './option-sources.ts';

/** What a configuration file says: how the server is reached, and options of commands. */
export interface Config {
  readonly server: ServerChoice;
  readonly sections: readonly Entry[];
}

const INSTALLATION = '/etc/pilotage/config.yaml';
const SERVER_KEYS = ['server', 'tokenFile', 'fingerprint', 'data'] as const;

/** The files from the one that goes first. PILOTAGE_CONFIG names the only one. */
function filesOf(env: CliContext['env']): string[] {
  if (env.PILOTAGE_CONFIG) return [env.PILOTAGE_CONFIG];
  const own = env.XDG_CONFIG_HOME || (env.HOME && path.join(env.HOME, '.config'));
  return [...(own ? [path.join(own, 'pilotage', 'config.yaml')] : []), INSTALLATION];
}

/** The user's file, then the installation's. What neither says is left to the program. */
export async function loadConfig(program: Command, env: CliContext['env']): Promise<readonly Config[]> {
  const configs: Config[] = [];
  for (const file of filesOf(env)) {
    const text = readIfThere(file, file === env.PILOTAGE_CONFIG);
    if (text !== undefined && text.trim() !== '') configs.push(await parseConfig(text, file, program));
  }
  return configs;
}

/** Sets the options of a command that nobody has given yet. */
export async function applyConfig(command: Command, { sections }: Config): Promise<void> {
  const section = sections.find(({ key }) => key === command.name())?.value;
  if (!section || command.parent?.parent) return;
  const { failAt } = await import('./job-file/located.ts');
  const { asMap } = await import('./job-file/values.ts');
  for (const { key, keyAt, value } of asMap(section, 'options with values')) {
    const option = command.options.find((one) => one.attributeName() === key);
    if (!option)
      throw failAt(
        keyAt,
        `unknown option '${key}'${hintOf(
          key,
          command.options.map((one) => one.attributeName()),
        )}`,
      );
    if (!isGiven(command, option)) setOption(command, option, { values: toTexts(value), source: value.at });
  }
}

async function parseConfig(text: string, file: string, program: Command): Promise<Config> {
  const { failAt, readYaml } = await import('./job-file/located.ts');
  const { asMap, asText } = await import('./job-file/values.ts');
  const commands = program.commands.map((command) => command.name());
  const server: Record<string, string> = {};
  const sections: Entry[] = [];
  for (const entry of asMap(readYaml(text, file), 'commands with their options')) {
    if ((SERVER_KEYS as readonly string[]).includes(entry.key)) server[entry.key] = asText(entry.value);
    else if (commands.includes(entry.key)) sections.push(entry);
    else throw failAt(entry.keyAt, `unknown key '${entry.key}'${hintOf(entry.key, [...SERVER_KEYS, ...commands])}`);
  }
  return { server, sections };
}

/** A list is an option given several times, a map one of NAME=VALUE. */
function toTexts(value: Located): string[] {
  if (value.kind === 'list') return value.items.flatMap(toTexts);
  if (value.kind === 'map')
    return value.entries.flatMap(({ key, value: of }) => toTexts(of).map((text) => `${key}=${text}`));
  return [value.text];
}

function readIfThere(file: string, isNamed: boolean): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (!isNamed && ['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return undefined;
    throw new PilotageError('bad-request', `the configuration '${file}' cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
