import type { Command, Option } from 'commander';
import type { CliContext } from './context.ts';

/**
 * Every option has a variable: `--slots` of `worker` is PILOTAGE_WORKER_SLOTS. A flag goes before its variable. Options
 * that can be given several times are written with commas, switches are on with 1 or true.
 */
export function applyEnv(command: Command, env: CliContext['env']): void {
  for (const option of command.options) {
    const value = env[variableOf(command, option)];
    const source = command.getOptionValueSource(option.attributeName());
    if (value === undefined || value === '' || (source !== undefined && source !== 'default')) continue;
    command.setOptionValueWithSource(option.attributeName(), toValue(command, option, value), 'env');
  }
}

/** The names of a command's parents count too: `token create --name` is PILOTAGE_TOKEN_CREATE_NAME. */
export function variableOf(command: Command, option: Option): string {
  const words: string[] = [];
  for (let at: Command | null = command; at !== null; at = at.parent) words.unshift(at.name());
  return [...words, option.name()].join('_').replaceAll('-', '_').toUpperCase();
}

function toValue(command: Command, option: Option, text: string): unknown {
  if (option.isBoolean()) return ['1', 'true', 'yes', 'on'].includes(text.toLowerCase());
  const { parseArg } = option;
  if (!parseArg) return text;
  let value: unknown;
  try {
    const parts = option.variadic || isCollected(option) ? text.split(',') : [text];
    for (const part of parts) value = parseArg(part, value as never);
    return value;
  } catch (error) {
    const { message } = error as Error;
    return command.error(`error: variable ${variableOf(command, option)} value '${text}' is invalid. ${message}`);
  }
}

function isCollected(option: Option): boolean {
  return option.description.endsWith(SEVERAL);
}

/** How an option that may be given several times says so in its help. */
export const SEVERAL = '(several times)';
