import { mkdir, realpath } from 'node:fs/promises';
import path from 'node:path';
import { PilotageError } from '../../ground/base/errors.ts';
import { placeTree, readTree } from '../../ground/client/place-tree.ts';
import { inLanes } from '../../ground/content/in-lanes.ts';
import { parseSafePath } from '../../ground/content/safe-path.ts';
import type { TreeEntry } from '../../ground/content/tree.ts';
import type { InputFile } from '../../ground/protocol/spec.ts';
import type { FetchBlob } from './cache/fetches.ts';
import type { NodeCache } from './cache/node-cache.ts';

export interface Inputs {
  readonly cache: NodeCache;
  readonly sandbox: string;
  readonly files: readonly InputFile[];
  /** How a blob comes here; its size when it is known. */
  readonly fetchOf: (size?: number) => FetchBlob;
  readonly signal: AbortSignal;
}

type Trees = ReadonlyMap<string, readonly TreeEntry[]>;

/** So many blobs come at a time. */
const PARALLEL = 8;

/** Puts all inputs into the sandbox, whole and verified, or rejects. Nothing is ever written outside of it. */
export async function stageInputs(inputs: Inputs): Promise<void> {
  await mkdir(inputs.sandbox, { recursive: true, mode: 0o700 });
  await fetchAll(inputs, new Map(inputs.files.map(({ digest, kind, size }) => [digest, kind === 'tree' ? 0 : size])));
  const trees = await readTrees(inputs);
  await fetchAll(inputs, new Map([...trees.values()].flat().flatMap(toSize)));
  for (const input of inputs.files) await placeInput(inputs, input, trees);
}

/** Brings those that are not here, and keeps all of them here until the attempt is settled. */
async function fetchAll(inputs: Inputs, sizes: ReadonlyMap<string, number | undefined>): Promise<void> {
  if (sizes.size === 0) return;
  const missing = await inputs.cache.hold(inputs.sandbox, [...sizes.keys()]);
  await inLanes(missing, PARALLEL, (digest) =>
    inputs.cache.ensure(digest, inputs.fetchOf(sizes.get(digest)), inputs.signal),
  );
}

/** The lists of the directories among the inputs. They lie beside the sandbox while they are read. */
async function readTrees({ cache, sandbox, files, fetchOf, signal }: Inputs): Promise<Trees> {
  const trees = new Map<string, readonly TreeEntry[]>();
  const list = path.join(path.dirname(sandbox), 'tree');
  for (const { kind, digest } of files) {
    if (kind !== 'tree' || trees.has(digest)) continue;
    await cache.place({ digest, writable: true }, list, { fetch: fetchOf(), signal });
    trees.set(digest, (await readTree(list)).entries);
  }
  return trees;
}

async function placeInput({ cache, sandbox, fetchOf, signal }: Inputs, input: InputFile, trees: Trees): Promise<void> {
  const destination = await openPlace(sandbox, input.name);
  if (input.kind === 'file') return cache.place(input, destination, { fetch: fetchOf(), signal });
  const { writable = false, permissions } = input;
  await placeTree({ entries: trees.get(input.digest) ?? [], permissions }, destination, (wanted, to) =>
    cache.place({ ...wanted, writable }, to, { fetch: fetchOf(wanted.size), signal }),
  );
}

/** Makes the directories above an input. An earlier input may have put a link there: it must not lead outside. */
async function openPlace(sandbox: string, name: string): Promise<string> {
  const destination = path.join(sandbox, parseSafePath(name));
  await mkdir(path.dirname(destination), { recursive: true });
  const [top, place] = await Promise.all([realpath(sandbox), realpath(path.dirname(destination))]);
  if (place !== top && !place.startsWith(`${top}/`)) {
    throw new PilotageError(
      'bad-request',
      `the input '${name}' would be written outside of the sandbox, to '${place}'`,
    );
  }
  return destination;
}

function toSize(entry: TreeEntry): [string, number][] {
  return 'digest' in entry ? [[entry.digest, entry.size]] : [];
}
