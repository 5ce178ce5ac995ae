import { messageOf } from '../../../ground/base/errors.ts';
import { formatTaskId } from '../../../ground/base/task-id.ts';
import type { Client } from '../../../ground/client/client.ts';
import { workerCalls } from '../../../ground/protocol/worker-calls.ts';
import type { KeptCheckpoint } from '../../pool/neighbours.ts';
import type { Parts } from '../../pool/parts.ts';
import type { Identity } from '../identity.ts';
import { openSecrets, type ProjectHome } from './borrow.ts';
import { pushFiles } from './files.ts';

const NUMBERS = 1_000_000;

/**
 * Checkpoints of borrowed tasks are brought to where the tasks came from, so that the work goes on from there if this
 * server is lost. One at a time for each task, and always the newest; one that does not get through is followed by the next.
 */
export function createCheckpointRelay(parts: Parts, identity: Identity, clientOf: (peer: string) => Client) {
  const waiting = new Map<string, KeptCheckpoint>();
  const busy = new Set<string>();

  const bring = async ({ submission, idx, attempt, number: ofAttempt, files }: KeptCheckpoint): Promise<void> => {
    const [row] = await parts.store.findBorrowed({ keys: [{ submission, idx }] });
    const project = (await parts.store.listProjects()).find(({ name }) => name === row?.project);
    if (!row || !project?.home) return;
    const client = clientOf(row.peer_id);
    const { at } = JSON.parse(project.home) as ProjectHome;
    const to = { parts, client, project: { id: project.id, name: project.name, at }, signal: parts.closing };
    await pushFiles(to, files);
    // Several attempts here are one at home, and numbers grow.
    const number = attempt * NUMBERS + ofAttempt;
    const [secret = ''] = await openSecrets(parts.store, identity, [row]);
    const body = { task: row.task, attempt: row.attempt, secret, number, files: [...files] };
    await client.call(workerCalls.checkpoint, { body });
  };

  const work = async (key: string): Promise<void> => {
    if (busy.has(key)) return;
    busy.add(key);
    for (let next = waiting.get(key); next; next = waiting.get(key)) {
      waiting.delete(key);
      await bring(next).catch((error: unknown) =>
        parts.log.warn({ task: key, error: messageOf(error) }, 'a checkpoint did not get home; the next one may'),
      );
    }
    busy.delete(key);
  };

  return {
    send(checkpoint: KeptCheckpoint): void {
      const key = formatTaskId(checkpoint.submission, checkpoint.idx);
      waiting.set(key, checkpoint);
      void work(key);
    },
  };
}
