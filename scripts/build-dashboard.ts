/**
 * Bundles the web pages: names with a hash of the content, so that browsers may keep them for ever, and the shells that
 * name them. usage: node scripts/build-dashboard.ts DIRECTORY
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build } from 'esbuild';
import { SHELLS, shellOf } from '../src/face/dashboard/shell.ts';

const SOURCE = join(import.meta.dirname, '../src/face/dashboard');
const directory = process.argv[2];
if (directory === undefined) throw new Error('usage: node scripts/build-dashboard.ts DIRECTORY');

rmSync(directory, { recursive: true, force: true });
mkdirSync(directory, { recursive: true });
const { metafile } = await build({
  entryPoints: [join(SOURCE, 'main.tsx'), join(SOURCE, 'style.css'), join(SOURCE, 'icon.svg')],
  outdir: join(directory, 'assets'),
  entryNames: '[name]-[hash]',
  loader: { '.svg': 'copy' },
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
});

const names = Object.fromEntries(
  Object.entries(metafile.outputs).flatMap(([file, { entryPoint, inputs }]) => {
    const source = entryPoint ?? Object.keys(inputs)[0];
    return source === undefined ? [] : [[basename(source), basename(file)]];
  }),
);
const nameOf = (source: string): string => {
  const name = names[source];
  if (name === undefined) throw new Error(`${source} was not built: there are ${Object.keys(names).join(', ')}`);
  return name;
};
const assets = { script: nameOf('main.tsx'), style: nameOf('style.css'), icon: nameOf('icon.svg') };
for (const shell of SHELLS) writeFileSync(join(directory, `${shell}.html`), shellOf(shell, assets));
for (const [file, { bytes }] of Object.entries(metafile.outputs)) console.log(`${basename(file)}: ${bytes} bytes`);
