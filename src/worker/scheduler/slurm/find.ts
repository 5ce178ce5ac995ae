import { ask, innerSeconds, sectionOf, silent } from '../answer.ts';
import type { BatchId, BatchName } from '../scheduler.ts';
import type { Shell } from '../shell.ts';
import { accountingByName, queueCommand } from './commands.ts';
import { readQueue } from './read-queue.ts';
import { readAccounting } from './read-records.ts';

export async function findOnSlurm(
  shell: Shell,
  names: readonly BatchName[],
  clusters: readonly string[],
  timeoutMs: number,
): Promise<Map<BatchName, BatchId>> {
  const found = new Map<BatchName, BatchId>();
  if (names.length === 0) return found;
  const inner = innerSeconds(timeoutMs / 2 / clusters.length);
  const sections = clusters.flatMap((cluster) => [
    [`queue-${cluster}`, queueCommand(cluster, inner)],
    [`accounts-${cluster}`, accountingByName(names, cluster, inner)],
  ]);
  const answer = await ask(shell, { what: 'squeue', sections: Object.fromEntries(sections), timeoutMs });
  for (const cluster of clusters) {
    const queue = sectionOf(answer, `queue-${cluster}`);
    const accounts = sectionOf(answer, `accounts-${cluster}`);
    if (queue.code !== 0) throw silent('squeue', `exit code ${queue.code}`, answer.stderr);
    const known = [...readAccounting(accounts.stdout), ...readQueue(queue.stdout)];
    for (const { id, name } of known.filter((entry) => names.includes(entry.name as BatchName))) {
      found.set(name as BatchName, (cluster === '' ? id : `${id};${cluster}`) as BatchId);
    }
    if (accounts.code !== 0 && isAccountingSilent(accounts.code, answer.stderr) && found.size < names.length) {
      throw silent('sacct', `exit code ${accounts.code}`, answer.stderr);
    }
  }
  return found;
}

/** Accounting that a site does not have, or keeps to itself, is no silence: there is nobody to ask. */
function isAccountingSilent(code: number, words: string): boolean {
  return code !== 127 && !/accounting storage is disabled|permission denied|command not found/i.test(words);
}
