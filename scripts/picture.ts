/**
 * Draws the rooms and who enters whom, from the imports themselves, into docs/architecture.md.
 * With --check it changes nothing, and fails when the picture there is not the one that the imports give.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const FILE = join(ROOT, 'docs/architecture.md');
const BEGIN = '<!-- picture: made by npm run picture -->';
const END = '<!-- end of picture -->';

interface Cruise {
  readonly modules: readonly {
    readonly source: string;
    readonly dependencies: readonly { readonly resolved: string }[];
  }[];
}

const output = execFileSync('depcruise', ['--config', 'house.cjs', '--output-type', 'json', 'src'], {
  cwd: ROOT,
  encoding: 'utf8',
  maxBuffer: 2 ** 28,
});
const text = readFileSync(FILE, 'utf8');
const drawn =
  text.slice(0, text.indexOf(BEGIN)) +
  `${BEGIN}\n${draw(JSON.parse(output) as Cruise)}\n` +
  text.slice(text.indexOf(END));
if (process.argv.includes('--check')) {
  if (drawn !== text) {
    console.error(
      'docs/architecture.md shows other imports than there are: run npm run picture, and look at what changed',
    );
    process.exit(1);
  }
} else writeFileSync(FILE, drawn);

function draw(cruise: Cruise): string {
  const arrows = new Set<string>();
  const rooms = new Set<string>();
  for (const { source, dependencies } of cruise.modules) {
    const from = roomOf(source);
    if (!from) continue;
    rooms.add(from);
    for (const { resolved } of dependencies) {
      const to = roomOf(resolved);
      if (to && to !== from) arrows.add(`  ${idOf(from)} --> ${idOf(to)}`);
    }
  }
  const wings = Map.groupBy([...rooms].sort(), (room) => room.split('/')[0] ?? '');
  const boxes = [...wings].flatMap(([wing, inside]) => [
    `  subgraph ${wing}`,
    ...inside.map((room) => `    ${idOf(room)}["${room.split('/')[1] ?? room}"]`),
    '  end',
  ]);
  return ['```mermaid', 'flowchart TD', ...boxes, ...[...arrows].sort(), '```'].join('\n');
}

function roomOf(path: string): string | undefined {
  if (path.startsWith('src/main/')) return 'main/main';
  return /^src\/([^/]+\/[^/]+)\//.exec(path)?.[1];
}

function idOf(room: string): string {
  return room.replace('/', '_');
}
