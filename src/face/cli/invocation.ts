import type { Client } from '../../ground/client/client.ts';
import type { Config } from './config-file.ts';
import {
  connect,
  findServer,
  resolveServer,
  type ServerAddress,
  type ServerChoice,
  type ServerPlace,
} from './connect.ts';
import type { CliContext } from './context.ts';
import { printJson, printJsonList, printLine } from './output.ts';
import { colourStates } from './table.ts';

export interface GlobalOptions extends ServerChoice {
  readonly json?: boolean;
  readonly verbose?: number;
}

/** One command as it runs: what it was given, where it writes, whom it asks. */
export interface Invocation {
  readonly context: CliContext;
  readonly options: GlobalOptions;
  readonly json: boolean;
  /** How the server is reached where neither flags nor variables say. */
  readonly configured: ServerChoice;
  /** The words behind `--`. */
  readonly command: readonly string[] | undefined;
  /** The server that was named. The same client each time. */
  client(): Client;
  address(): ServerAddress;
  /** The same, where it is open still by what one is known there. */
  place(): ServerPlace;
  /** A result, for a program as JSON and for a person as text. */
  print(value: unknown, text: () => string): Promise<void>;
  printList(values: readonly unknown[], text: () => string): Promise<void>;
  /** Something beside the result: goes to stderr. */
  say(message: string): Promise<void>;
  close(): void;
}

export function createInvocation(
  context: CliContext,
  options: GlobalOptions,
  { command, configs }: { command: readonly string[] | undefined; configs: readonly Config[] },
): Invocation {
  let client: Client | undefined;
  const { stdout, stderr, env } = context;
  const isColoured = stdout.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb';
  const json = options.json === true;
  const configured: ServerChoice = Object.assign({}, ...configs.map(({ server }) => server).toReversed());
  const address = (): ServerAddress => resolveServer(options, env, configured);
  const printText = async (text: string): Promise<void> => {
    if (text !== '') await printLine(stdout, colourStates(text.replace(/\n$/, ''), isColoured));
  };
  return {
    context,
    options,
    json,
    configured,
    command,
    address,
    place: () => findServer(options, env, configured),
    client: () => {
      client ??= connect(address(), context);
      return client;
    },
    print: (value, text) => (json ? printJson(stdout, value) : printText(text())),
    printList: (values, text) => (json ? printJsonList(stdout, values) : printText(text())),
    say: (message) => printLine(stderr, `pilotage: ${message}`),
    close: () => client?.close(),
  };
}
