import { readFileSync, realpathSync } from 'node:fs';
import path from 'node:path';

/** What the command line of a worker file imports: no server, no database, no cloud. Its test runs where nothing else is. */
const ROOTS = ['cli-progress', 'commander', 'fastest-levenshtein', 'picomatch', 'pino', 'typebox', 'yaml'];

/** A package, and where it goes below `node_modules`. */
export interface PlacedPackage {
  readonly from: string;
  readonly to: string;
}

/** The packages with all that they need in turn. One that is wanted in two versions lies below whoever wants the other. */
export function workerPackages(root: string): PlacedPackage[] {
  const placed = new Map<string, string>();
  const visit = (name: string, parent: { directory: string; to: string }): void => {
    const from = findPackage(name, parent.directory);
    const known = placed.get(name);
    if (known === from) return;
    const to = known === undefined ? name : `${parent.to}/node_modules/${name}`;
    if (placed.get(to) === from) return;
    placed.set(to, from);
    const { dependencies = {} } = JSON.parse(readFileSync(path.join(from, 'package.json'), 'utf8'));
    for (const dependency of Object.keys(dependencies)) visit(dependency, { directory: from, to });
  };
  for (const name of ROOTS) visit(name, { directory: root, to: '' });
  return [...placed].map(([to, from]) => ({ from, to }));
}

/** As Node.js looks for it: in `node_modules` of the directory and of those above. */
function findPackage(name: string, from: string): string {
  for (let directory = from; ; directory = path.dirname(directory)) {
    try {
      return path.dirname(realpathSync(path.join(directory, 'node_modules', name, 'package.json')));
    } catch {
      if (directory === path.dirname(directory))
        throw new Error(`the package '${name}' is not installed near '${from}'`);
    }
  }
}
