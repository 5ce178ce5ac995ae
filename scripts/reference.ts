/**
 * Writes the parts of the reference that the program knows itself: its commands with their options, and its API.
 * usage: node scripts/reference.ts [--check]     with --check it only says whether the files are as they should be
 */
import { readFileSync, writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { CliContext } from '../src/face/cli/context.ts';
import { createProgram } from '../src/face/cli/program.ts';
import { ERROR_CODES } from '../src/ground/base/errors.ts';
import { peerRoutes } from '../src/ground/protocol/peer-routes.ts';
import { API, type Route } from '../src/ground/protocol/route.ts';
import { routes } from '../src/ground/protocol/routes.ts';

const PARTS = [
  { file: new URL('../docs/reference/cli.md', import.meta.url), name: 'commands', text: commandsText },
  { file: new URL('../docs/reference/http.md', import.meta.url), name: 'routes', text: routesText },
  { file: new URL('../docs/reference/http.md', import.meta.url), name: 'codes', text: codesText },
];

const isCheck = process.argv.includes('--check');
for (const part of PARTS) {
  const before = readFileSync(part.file, 'utf8');
  const after = withPart(before, part.name, part.text());
  if (before === after) continue;
  if (isCheck) {
    console.error(`reference: ${part.file.pathname} is not what the program says: run 'node scripts/reference.ts'`);
    process.exitCode = 1;
  } else writeFileSync(part.file, after);
}

function withPart(document: string, name: string, text: string): string {
  const [begin, end] = [`<!-- begin ${name} -->`, `<!-- end ${name} -->`];
  const [at, until] = [document.indexOf(begin), document.indexOf(end)];
  if (at < 0 || until < at) throw new Error(`the document has no place for '${name}': ${begin} … ${end}`);
  return `${document.slice(0, at + begin.length)}\n${text}${document.slice(until)}`;
}

function commandsText(): string {
  const outcome = { code: 0, isRun: false, verbose: false };
  const program = createProgram(
    { stdout: process.stdout, stderr: process.stderr, version: '' } as unknown as CliContext,
    outcome,
    undefined,
  );
  return leavesOf(program, '')
    .map(({ path, command }) => `\n### ${path}\n\n\`\`\`text\n${helpOf(command)}\n\`\`\`\n`)
    .join('');
}

function leavesOf(command: Command, above: string): { path: string; command: Command }[] {
  return command.commands.flatMap((one) => {
    const path = `${above}${one.name()}`;
    return [{ path, command: one }, ...leavesOf(one, `${path} `)];
  });
}

function helpOf(command: Command): string {
  const plain = command.configureHelp({ helpWidth: 100, showGlobalOptions: false });
  return plain.helpInformation().trim();
}

function routesText(): string {
  const lines = (Object.values({ ...routes, ...peerRoutes }) as Route[]).map(
    ({ method, path, summary }) => `| ${method} | \`${API}${path}\` | ${summary} |`,
  );
  return `\n| method | path | what it does |\n|---|---|---|\n${lines.join('\n')}\n\n`;
}

function codesText(): string {
  const lines = Object.entries(ERROR_CODES).map(([code, status]) => `| \`${code}\` | ${status} |`);
  return `\n| code | HTTP status |\n|---|---|\n${lines.join('\n')}\n\n`;
}
