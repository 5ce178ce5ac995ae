import { randomUUID } from 'node:crypto';
import { mkdir, realpath, rm } from 'node:fs/promises';
import path from 'node:path';
import { PilotageError } from '../../ground/base/errors.ts';
import { downloadFile, type FileStore, placeTree, readTree } from '../../ground/client/files.ts';
import { parseSafePath } from '../../ground/content/safe-path.ts';
import type { InputFile } from '../../ground/protocol/spec.ts';
import type { BlobCache } from './blob-cache.ts';

export interface Inputs {
  readonly store: FileStore;
  readonly cache: BlobCache;
  readonly sandbox: string;
  readonly files: readonly InputFile[];
}

/** Puts all inputs into the sandbox, whole and verified, or rejects. Nothing is ever written outside of it. */
export async function stageInputs(inputs: Inputs): Promise<void> {
  for (const input of inputs.files) {
    const destination = await openPlace(inputs.sandbox, input.name);
    if (input.kind === 'tree') await stageTree(inputs, input.digest, destination);
    else await inputs.cache.place(input, destination, (digest, to) => fetch(inputs.store, digest, to));
  }
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

async function stageTree(inputs: Inputs, digest: string, destination: string): Promise<void> {
  const list = path.join(path.dirname(inputs.sandbox), `tree-${randomUUID().slice(0, 8)}`);
  try {
    await inputs.cache.place({ digest }, list, (wanted, to) => fetch(inputs.store, wanted, to));
    const { entries } = await readTree(list);
    await placeTree(entries, destination, (wanted, to) =>
      inputs.cache.place(wanted, to, (missing, arriving) => fetch(inputs.store, missing, arriving)),
    );
  } finally {
    await rm(list, { force: true });
  }
}

async function fetch(store: FileStore, digest: string, destination: string): Promise<void> {
  await downloadFile(store, { digest }, destination);
}
