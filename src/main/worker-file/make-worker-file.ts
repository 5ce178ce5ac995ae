/** One file that runs a worker where neither Node.js nor Pilotage is: the running Node.js, our compiled code, its packages. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createWriteStream, existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { create } from 'tar';
import { PilotageError } from '../../ground/base/errors.ts';
import { hashFile } from '../../ground/content/hash-file.ts';
import { VERSION } from '../version.ts';
import { type System, workerFileHead } from './worker-file-head.ts';
import { workerPackages } from './worker-packages.ts';

export interface WorkerFile {
  readonly path: string;
  readonly version: string;
  readonly digest: string;
  readonly size: number;
}

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const AN_HOUR_MS = 3_600_000;
/** Of our own code: a server is no use to a worker. */
const ROOMS = ['ground', 'worker', 'face', 'main'];

/** The worker file of this version for machines like this one, made in the directory when it is first wanted there. */
export async function makeWorkerFile(directory: string): Promise<WorkerFile> {
  const dist = path.join(ROOT, 'dist');
  if (!existsSync(path.join(dist, 'main/worker-file-main.js')))
    throw new PilotageError('wrong-state', `'${dist}' is not built: run 'npm run build' in '${ROOT}' first`);
  const files = await filesOf(dist);
  const file = path.join(directory, `pilotage-worker-${VERSION}-${await identityOf(files)}`);
  if (!existsSync(file)) await build(file, files);
  const { digest, size } = await hashFile(file);
  return { path: file, version: VERSION, digest, size };
}

/** Files of the archive: their names in it, and where they are here. */
type Files = ReadonlyMap<string, string>;

async function filesOf(dist: string): Promise<Files> {
  const files = new Map([
    ['bin/node', process.execPath],
    ['package/package.json', path.join(ROOT, 'package.json')],
  ]);
  for (const room of ROOMS)
    await addDirectory(files, path.join(dist, room), `package/dist/${room}`, (name) => name.endsWith('.js'));
  for (const { from, to } of workerPackages(ROOT))
    await addDirectory(files, from, `package/node_modules/${to}`, (name) => /\.(c?js|mjs|json)$/.test(name));
  return new Map([...files].sort(([a], [b]) => (a < b ? -1 : 1)));
}

async function addDirectory(
  files: Map<string, string>,
  from: string,
  to: string,
  isWanted: (name: string) => boolean,
): Promise<void> {
  for (const entry of await readdir(from, { recursive: true, withFileTypes: true })) {
    const at = path.join(entry.parentPath, entry.name);
    const name = path.relative(from, at);
    if (entry.isFile() && isWanted(name) && !/(^|\/)(node_modules|test|tests|\.git)\//.test(name))
      files.set(`${to}/${name}`, at);
  }
}

/** The same for the same contents: our own code and the packages by their bytes, Node.js by its version. */
async function identityOf(files: Files): Promise<string> {
  const hash = createHash('sha256').update(`${process.version} ${process.platform} ${process.arch}`);
  for (const [name, at] of files) if (name !== 'bin/node') hash.update(`\0${name}\0`).update(await readFile(at));
  return hash.digest('hex').slice(0, 12);
}

async function build(file: string, files: Files): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  await removeLeft(path.dirname(file));
  const stage = await mkdtemp(`${file}.`);
  try {
    const tree = path.join(stage, 'tree');
    for (const [name, at] of files) {
      await mkdir(path.join(tree, path.dirname(name)), { recursive: true });
      await symlink(at, path.join(tree, name));
    }
    const whole = path.join(stage, 'whole');
    await writeFile(whole, workerFileHead(VERSION, systemHere()), { mode: 0o700 });
    const archive = create({ cwd: tree, gzip: { level: 6 }, portable: true, follow: true, mtime: new Date(0) }, [
      ...files.keys(),
    ]);
    await pipeline(archive, createWriteStream(whole, { flags: 'a', flush: true }));
    await rename(whole, file);
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
}

/** Of agents that were killed while they made one, which takes seconds. */
async function removeLeft(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const at = path.join(directory, entry.name);
    if (!entry.isDirectory() || !/^pilotage-worker-.*\.\w{6}$/.test(entry.name)) continue;
    const made = await stat(at).catch(() => undefined);
    if (made && Date.now() - made.mtimeMs > AN_HOUR_MS) await rm(at, { recursive: true, force: true });
  }
}

function systemHere(): System {
  const uname = (flag: string): string => execFileSync('uname', [flag], { encoding: 'utf8' }).trim();
  return { name: uname('-s'), machine: uname('-m') };
}
