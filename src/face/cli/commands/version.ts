import type { Command } from 'commander';
import type { Define } from '../define.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';

export function versionCommand(define: Define): Command {
  return define('version', 'Print the version', version);
}

async function version(invocation: Invocation): Promise<number> {
  const { version } = invocation.context;
  await invocation.print({ version, node: process.versions.node }, () => `pilotage ${version}`);
  return EXIT.done;
}
