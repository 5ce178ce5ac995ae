/** Files that come with a job, and files that people fetch of it: both travel by their digests. */
import { glob, lstat, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { downloadFile } from '../../ground/client/download.ts';
import type { FileStore } from '../../ground/client/file-store.ts';
import { transferAll } from '../../ground/client/transfer-all.ts';
import { uploadPath, uploadPaths } from '../../ground/client/upload.ts';
import { LOG_FILE, plainFileName } from '../../ground/content/file-parameters.ts';
import { formatTree, type TreeEntry } from '../../ground/content/tree.ts';
import type { JobFile, JobResults } from '../../ground/protocol/service.ts';

/** Puts what came with a job into its directory. What is there already stays: somebody may have mended it. */
export async function bringInputs(store: FileStore, directory: string, inputs: readonly JobFile[]): Promise<void> {
  const missing: JobFile[] = [];
  for (const input of inputs)
    if (!(await lstat(path.join(directory, plainFileName(input.name))).catch(() => undefined))) missing.push(input);
  await transferAll(
    missing,
    async (input) => void (await downloadFile(store, input, path.join(directory, input.name))),
  );
}

/**
 * Uploads what people may fetch, as a directory of its own. Links, and what is reached through one, are left out: they may
 * lead anywhere. So are hidden files unless a pattern names them.
 */
export async function sendResults(
  store: FileStore,
  directory: string,
  patterns: readonly string[] | null,
): Promise<JobResults> {
  const names = await resultNames(directory, patterns);
  const uploaded =
    names.length === 0
      ? []
      : await uploadPaths(
          store,
          names.map((name) => path.join(directory, name)),
        );
  const entries = names.map((name, at): TreeEntry => {
    const file = uploaded[at];
    if (!file) throw new Error(`'${name}' was not uploaded`);
    return { path: name, mode: file.executable ? 'executable' : 'file', digest: file.digest, size: file.size };
  });
  const tree = await sendText(store, formatTree(entries));
  return { tree, files: entries.length, bytes: uploaded.reduce((sum, { size }) => sum + size, 0) };
}

async function resultNames(directory: string, patterns: readonly string[] | null): Promise<string[]> {
  const names = new Set<string>();
  for (const pattern of patterns ?? ['**'])
    for await (const entry of glob(pattern, { cwd: directory, withFileTypes: true }))
      if (entry.isFile()) names.add(path.relative(directory, path.join(entry.parentPath, entry.name)));
  names.delete(LOG_FILE);
  const top = await realpath(directory);
  const own: string[] = [];
  const outside = [...names].find((name) => name.split('/')[0] === '..');
  if (outside !== undefined)
    throw new Error(`'results' of the service names '${outside}', which is not in the job's directory`);
  for (const name of [...names].sort())
    if ((await realpath(path.join(top, name))) === path.join(top, name)) own.push(name);
  return own;
}

async function sendText(store: FileStore, text: string): Promise<string> {
  const directory = await mkdtemp(path.join(tmpdir(), 'pilotage-results-'));
  try {
    const file = path.join(directory, 'tree');
    await writeFile(file, text, { mode: 0o600 });
    return (await uploadPath(store, file)).digest;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
