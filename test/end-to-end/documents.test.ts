import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { parseJobFile } from '../../src/face/cli/job-file/parse-job-file.ts';
import { readSites } from '../../src/face/cli/sites/read-sites.ts';
import { MECHANISMS } from '../../src/ground/protocol/site.ts';

const root = path.join(import.meta.dirname, '../..');
const SERVE = 'pilotage serve --workers 2 &';

test.each([
  'README.md',
  'docs/tutorial.md',
  'docs/data.md',
  'docs/sites.md',
  'docs/jobs.md',
  'docs/picas.md',
  'docs/people.md',
  'docs/services.md',
  'docs/backup.md',
  'docs/neighbours.md',
  'examples/hetatm/README.md',
  'docs/reference/cli.md',
  'docs/reference/http.md',
])('what %s says can be typed as it stands', (file) => {
  const blocks = blocksOf(file, 'sh');
  expect(blocks.length).toBeGreaterThan(0);
  const home = mkdtempSync(path.join(tmpdir(), 'pilotage-documents-'));
  try {
    // What an example says is typed where the examples lie.
    if (file.startsWith('examples/')) cpSync(path.join(root, 'examples'), home, { recursive: true });
    const output = runAll(blocks, home, blocksOf(file, 'js'));
    expect(output).not.toMatch(/unexpected|internal/);
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
});

test('the job files of the documents are job files', () => {
  const files = ['README.md', 'docs/data.md', 'docs/reference/job-file.md'].flatMap((file) => blocksOf(file, 'yaml'));
  expect(files.length).toBeGreaterThan(5);
  for (const text of files)
    expect(
      parseJobFile(text, { fileName: 'document.yaml', directory: root, now: new Date() }).steps.length,
    ).toBeGreaterThan(0);
});

test('the package is imported by what package.json says', () => {
  const { exports } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { exports: { '.': string } };
  expect(path.join(root, exports['.'])).toBe(path.join(root, 'dist/ground/client/sdk.js'));
});

test('the sites of the documents are sites', () => {
  const files = blocksOf('docs/sites.md', 'yaml');
  expect(files.flatMap((text) => readSites(text, 'sites.yaml')).length).toBeGreaterThan(Object.keys(MECHANISMS).length);
});

test('the reference says what the program says', () => {
  execFileSync(process.execPath, [path.join(root, 'scripts/reference.ts'), '--check'], { stdio: 'inherit' });
});

test('every link of the documents leads somewhere', () => {
  const documents = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], {
    cwd: root,
    encoding: 'utf8',
  })
    .trim()
    .split('\n');
  const broken = documents.flatMap((file) =>
    [...readFileSync(path.join(root, file), 'utf8').matchAll(/\]\((?!https?:)([^)#]+)/g)]
      .map(([, target = '']) => path.join(path.dirname(file), target))
      .filter((target) => !exists(target))
      .map((target) => `${file}: ${target}`),
  );
  expect(broken).toEqual([]);
});

function exists(target: string): boolean {
  try {
    readFileSync(path.join(root, target));
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EISDIR';
  }
}

function blocksOf(file: string, language: string): string[] {
  const text = readFileSync(path.join(root, file), 'utf8');
  return [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
    .filter(([, of]) => of === language)
    .map(([, , block = '']) => block);
}

/** As one script in a home of its own, then the programs, on a free port; a document that starts no server finds one running. */
function runAll(blocks: readonly string[], home: string, programs: readonly string[]): string {
  const sdk = pathToFileURL(path.join(root, 'dist/ground/client/sdk.js')).href;
  for (const [at, program] of programs.entries())
    writeFileSync(path.join(home, `program-${at}.mjs`), program.replace("'pilotage'", `'${sdk}'`));
  const text = blocks.some((block) => block.includes(SERVE)) ? blocks.join('\n') : [SERVE, ...blocks].join('\n');
  const started = `pilotage serve --workers 2 --listen 127.0.0.1:0 > server.log 2>&1 & trap 'kill $(jobs -p); wait' EXIT\nuntil pilotage workers --json 2> /dev/null | grep -q alive; do sleep 0.1; done`;
  const script = `set -euo pipefail\ncd "$HOME"\n${text.replace(SERVE, started)}\n${programs.map((_, at) => `node program-${at}.mjs`).join('\n')}`;
  return execFileSync('bash', ['-c', script], {
    env: { HOME: home, PATH: `${root}/bin:${path.dirname(process.execPath)}:${process.env.PATH}` },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}
