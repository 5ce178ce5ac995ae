import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemCode } from '../../ground/base/errors.ts';
import { startTimeOf } from '../../worker/runner/marked-processes.ts';

/** Process ids of workers that run with this work directory now: those of a server that was killed go on without it. */
export async function liveWorkers(base: string): Promise<number[]> {
  const found: number[] = [];
  for (const number of readable(() => readdirSync(base)) ?? []) {
    const owner = parseOwner(readable(() => readFileSync(join(base, number, 'lock'), 'utf8')) ?? '');
    if (owner && (await startTimeOf(owner.pid)) === owner.startTime) found.push(owner.pid);
  }
  return found;
}

/** A lock that is being written reads as nothing. */
function parseOwner(text: string): { pid: number; startTime: string } | undefined {
  return text.endsWith('}') ? (JSON.parse(text) as { pid: number; startTime: string }) : undefined;
}

function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return undefined;
    throw error;
  }
}
