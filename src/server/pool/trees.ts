import { PilotageError } from '../../ground/base/errors.ts';
import { parseTree } from '../../ground/content/tree.ts';
import { readBlob } from './files.ts';
import type { Parts } from './parts.ts';

/** A file or directory that a task needs or left. */
export interface NamedFile {
  readonly name: string;
  readonly digest: string;
  readonly kind: 'file' | 'tree';
}

/** A list of files larger than this is not one. */
const MAX_TREE_BYTES = 256 * 1024 * 1024;

/** Refuses what the project lacks, directories down to their files. What is there stays while it is decided. */
export async function requireFiles(parts: Parts, projectId: number, files: readonly NamedFile[]): Promise<void> {
  if (files.length === 0) return;
  const missing = await missingOf(
    parts,
    projectId,
    files.map((file) => file.digest),
  );
  const [first] = missing;
  if (first !== undefined) {
    const name = files.find((file) => file.digest === first)?.name ?? '';
    throw new PilotageError(
      'not-found',
      `${missing.length} input file(s) were not uploaded to the project, the first is '${name}' (${first}): upload them before the submission`,
    );
  }
  await knowTrees(parts, projectId, files);
}

/**
 * Looks into directories that were not seen before: from then on what they list stays as long as they do. Rejects
 * with a tree that is damaged, leads outside, or lists what the project does not have.
 */
export async function knowTrees(parts: Parts, projectId: number, files: readonly NamedFile[]): Promise<void> {
  const trees = new Map(files.filter((file) => file.kind === 'tree').map((file) => [file.digest, file.name]));
  if (trees.size === 0) return;
  const known = new Set(await parts.store.knownTrees({ projectId, digests: [...trees.keys()] }));
  for (const [digest, name] of trees) if (!known.has(digest)) await knowTree(parts, projectId, { digest, name });
}

async function knowTree(parts: Parts, projectId: number, tree: { digest: string; name: string }): Promise<void> {
  const { entries } = parseTree(await readTreeText(parts, tree));
  const children = entries.flatMap((entry) => ('digest' in entry ? [entry.digest] : []));
  const missing = await missingOf(parts, projectId, children);
  if (missing.length > 0)
    throw new PilotageError(
      'not-found',
      `the directory '${tree.name}' lists ${missing.length} file(s) that were not uploaded to the project, the first is ${missing[0]}: upload them first`,
    );
  await parts.store.addTree({ projectId, digest: tree.digest, children });
}

/** The list of files that a tree is. */
export async function readTreeText(parts: Parts, { digest, name }: { digest: string; name: string }): Promise<string> {
  const { size, bytes } = await readBlob(parts, digest);
  if (size > MAX_TREE_BYTES) {
    bytes.destroy();
    throw new PilotageError(
      'bad-request',
      `'${name}' cannot be used as a directory: it is too large for a list of files`,
    );
  }
  const chunks: Buffer[] = [];
  for await (const chunk of bytes) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

async function missingOf(parts: Parts, projectId: number, digests: readonly string[]): Promise<string[]> {
  return parts.store.missingBlobs({ projectId, digests, graceMs: parts.settings.blobGraceMs });
}
