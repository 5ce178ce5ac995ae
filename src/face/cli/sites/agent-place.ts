import os from 'node:os';
import path from 'node:path';
import type { AgentPlace } from '../context.ts';
import type { Invocation } from '../invocation.ts';

/** Which agent is meant: that of this user for the server that was named. */
export function placeOfAgent(invocation: Invocation, directory: string | undefined): AgentPlace {
  const { env, cwd } = invocation.context;
  const named = directory ?? (env.PILOTAGE_AGENT_DIRECTORY || undefined);
  const share = env.XDG_DATA_HOME || path.join(env.HOME || os.homedir(), '.local', 'share');
  return {
    directory: named === undefined ? path.join(share, 'pilotage', 'agent') : path.resolve(cwd, named),
    server: invocation.address().url,
  };
}
