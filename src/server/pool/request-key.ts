import { randomUUID } from 'node:crypto';
import { mayDo, type Principal } from '../access/principal.ts';

/** What hosts of services call their requests: the job and the number of its run are in it. */
const OF_HOSTS = /^service-[0-9a-f-]{36}-/;

/**
 * The name of a request, under which it is carried out once in a project. It is the token's own, or that of the task whose
 * program asks, so that nobody can take another's; that of a host is the project's, because the host that comes after a crash
 * may have another token.
 */
export function requestKey(who: Principal, project: number, requestId: string = randomUUID()): string {
  return `project-${project}:${ownerOf(who, requestId)}${requestId}`;
}

function ownerOf(who: Principal, requestId: string): string {
  if (OF_HOSTS.test(requestId) && mayDo(who, 'work')) return '';
  // Whatever attempt of it asks.
  return who.task ? `task-${who.task.submission}.${who.task.index}:` : `token-${who.tokenId}:`;
}
