import type { Command, Option } from 'commander';
import type { CliContext } from './context.ts';

/** How an option that may be given several times says so in its help. */
export const SEVERAL = '(several times)';

/**
 * Every option has a variable: `--slots` of `worker` is PILOTAGE_WORKER_SLOTS. A flag goes before its variable. Options
 * that can be given several times are written with commas, switches are on with 1 or true: also one that takes something
 * away (PILOTAGE_WORKER_NO_SHARE=1), which a file says the other way round (`share: false`).
 */
export function applyEnv(command: Command, env: CliContext['env']): void {
  for (const option of command.options) {
    const name = variableOf(command, option);
    const text = env[name];
    if (text === undefined || text === '' || isGiven(command, option)) continue;
    const values = isRepeatable(option) ? text.split(',') : [option.negate ? String(!isOn(text)) : text];
    setOption(command, option, { values, source: `variable ${name}` });
  }
}

/** The names of a command's parents count too: `token create --name` is PILOTAGE_TOKEN_CREATE_NAME. */
function variableOf(command: Command, option: Option): string {
  const words: string[] = [];
  for (let at: Command | null = command; at !== null; at = at.parent) words.unshift(at.name());
  return [...words, option.name()].join('_').replaceAll('-', '_').toUpperCase();
}

function isOn(text: string): boolean {
  return ['1', 'true', 'yes', 'on'].includes(text.toLowerCase());
}

export function isGiven(command: Command, option: Option): boolean {
  const source = command.getOptionValueSource(option.attributeName());
  return source !== undefined && source !== 'default';
}

export function isRepeatable(option: Option): boolean {
  return option.description.endsWith(SEVERAL);
}

/** Sets an option from elsewhere than the command line, read and checked as if it stood there. */
export function setOption(command: Command, option: Option, from: { values: readonly string[]; source: string }): void {
  const { values, source } = from;
  command.setOptionValueWithSource(option.attributeName(), toValue(), 'config');

  function toValue(): unknown {
    const [text = ''] = values;
    if (option.isBoolean() || option.negate) return isOn(text);
    if (!option.parseArg) return text;
    try {
      return values.reduce<unknown>((before, value) => option.parseArg?.(value, before as never), undefined);
    } catch (error) {
      return command.error(`error: ${source} value '${values.join(',')}' is invalid. ${(error as Error).message}`);
    }
  }
}
