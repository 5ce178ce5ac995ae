import type { Command } from 'commander';
import type { Invocation } from './invocation.ts';

/** What a command does with its options and arguments. Resolves with the exit code. */
export type Act<Options, Args extends unknown[]> = (
  invocation: Invocation,
  options: Options,
  ...args: Args
) => Promise<number>;

/** Makes a command whose action runs inside an invocation. */
export type Define = <Options, Args extends unknown[]>(
  name: string,
  summary: string,
  act?: Act<Options, Args>,
) => Command;
